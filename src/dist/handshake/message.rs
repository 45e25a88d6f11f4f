//! The handshake's messages.
