//! Every bound of DKIM and ARC, except those of evaluation, which are policy.

/// Octets of one DKIM-Signature, ARC-Message-Signature or ARC-Seal. Long ones copy fields into `z=`.
pub const SIGNATURE_OCTETS_MAX: usize = 32 * 1024;
/// Tags of one list. The standards have 13.
pub const TAGS_MAX: usize = 64;
/// Names in `h=`.
pub const SIGNED_FIELDS_MAX: usize = 256;
/// Octets of a key record, its strings put together. One of a key of 8192 bits has 1,500.
pub const KEY_RECORD_OCTETS_MAX: usize = 8 * 1024;
/// Octets of the header of a message that is signed or verified.
pub const HEADER_OCTETS_MAX: usize = 256 * 1024;
/// Fields of that header.
pub const HEADER_FIELDS_MAX: usize = 2_000;
/// Bits of the modulus of an RSA key. RFC 8301 §3.2 wants verifiers to take up to 4096.
pub const RSA_BITS_MAX: u32 = 8192;
/// Bits of the modulus of an RSA key below which no signature counts (RFC 8301 §3.2).
pub const RSA_BITS_MIN: u32 = 1024;
/// Sets of an ARC chain (RFC 8617 §4.2.1).
pub const ARC_SETS_MAX: u8 = 50;

const _: () = assert!(SIGNATURE_OCTETS_MAX < HEADER_OCTETS_MAX);
