//! OTP's gen_server.
