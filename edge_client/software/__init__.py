"""The client's own software: environments beside each other, a launcher that is never upgraded, and the way back."""
