"""What the cloud tells devices by signed documents: settings, campaigns, requests for help."""
