"""One ultrasound recording in, of any kind: found, read, judged, cut and, on request, cleaned of who it shows."""
