"""See cases and judge contours: a local page that shows CTs with label maps. It knows the core and no other stage."""
