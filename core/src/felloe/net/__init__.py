"""The network: the only place that opens sockets, and the only one that sees a URL's secrets."""
