"""The datacenter itself: listening sockets, connections, and the hub that they share."""
