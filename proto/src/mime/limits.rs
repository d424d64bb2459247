//! Every bound of the message scanner and of what is written from its result.

/// Bounds on what is kept of a message. Beyond one of them the description of the message gets
/// coarser (a part becomes a leaf, a field is cut between two of its elements); nothing is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parts nested in each other, the message itself included. A multipart or message part at
    /// this depth is described as a leaf.
    pub depth_max: usize,
    /// Parts of a message in all. Delimiters beyond it are content of the last part.
    pub parts_max: usize,
    /// Octets of one field value that are kept.
    pub field_octets_max: usize,
    /// Octets of all field values of a message that are kept together.
    pub fields_octets_max: usize,
    /// Addresses of one address field that are kept.
    pub addresses_max: usize,
    /// Parameters of one Content-Type or Content-Disposition that are kept.
    pub parameters_max: usize,
    /// Octets of a boundary; a multipart with a longer one is described as a leaf. RFC 2046 §5.1.1
    /// allows 70.
    pub boundary_octets_max: usize,
}

impl Limits {
    /// Bounds that no ordinary message meets.
    pub const DEFAULT: Self = Self {
        depth_max: 100,
        parts_max: 1_000,
        field_octets_max: 64 * 1024,
        fields_octets_max: 256 * 1024,
        addresses_max: 2_000,
        parameters_max: 64,
        boundary_octets_max: 250,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
