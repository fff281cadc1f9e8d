"""What stands in for a comm in tests of widgets."""


class Wire:
    """Stands in for the comm and keeps what is sent."""

    comm_id = "fake"
    kernel = "any"

    def __init__(self):
        self.sent = []

    def on_msg(self, callback):
        """Nothing comes back on this wire."""

    def send(self, data=None, metadata=None, buffers=None):
        self.sent.append((data, buffers or []))
