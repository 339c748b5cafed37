//! The media plane: ICE-lite, DTLS-SRTP and the built-in far legs on one UDP port.
