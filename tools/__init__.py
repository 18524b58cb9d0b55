"""Programs that write parts of this project: the reference of the config, and the pictures of the documents."""
