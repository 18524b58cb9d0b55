"""MTProto on the wire: framing, key exchange, encryption, message layer, and the border to Telethon's TL classes."""
