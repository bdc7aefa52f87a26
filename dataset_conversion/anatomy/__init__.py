"""What the voxels show of the patient: body, couch, bone, and whether the orientation can be true."""
