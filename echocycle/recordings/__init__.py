"""One recording in: video files and DICOM cines become a `Recording`. The only files that know codecs."""
