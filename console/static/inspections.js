// The page of the inspections while their first figures are computed: it comes anew when they are there.

const source = new EventSource("/api/loop/live");
source.onmessage = () => {
  source.close();
  location.reload();
};
