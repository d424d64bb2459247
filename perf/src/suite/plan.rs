//! How much of everything a run takes.

/// Numbers and sizes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Messages of a round of durable deliveries.
    pub messages: usize,
    /// Rounds of them.
    pub rounds: usize,
    /// Connections that deliver.
    pub connections: usize,
    /// Octets of a message's body.
    pub body: usize,
    /// Messages of the small mailbox.
    pub few: usize,
    /// Messages of the middle mailbox.
    pub some: usize,
    /// Messages of the large mailbox.
    pub stored: usize,
    /// How often each mailbox is opened.
    pub selects: usize,
    /// Flag changes before a QRESYNC.
    pub changes: usize,
    /// Idle connections.
    pub idle: usize,
    /// Sessions in IDLE that are told of messages, and those messages.
    pub announced: (usize, usize),
    /// Octets of a very large message.
    pub large: usize,
    /// Such messages at the same time.
    pub large_at_once: usize,
    /// Megabytes that are stored, and of which half is deleted.
    pub megabytes: usize,
    /// Messages that the peers get in a round.
    pub peer_messages: usize,
    /// Accounts of the large directory.
    pub accounts: usize,
}

impl Sizes {
    /// As the floors have it.
    pub const FULL: Self = Self {
        messages: 20_000,
        rounds: 3,
        connections: 64,
        body: 10_240,
        few: 1_000,
        some: 100_000,
        stored: 1_000_000,
        selects: 200,
        changes: 100,
        idle: 1_000,
        announced: (100, 200),
        large: 104_800_000,
        large_at_once: 4,
        megabytes: 400,
        peer_messages: 5_000,
        accounts: 300_000,
    };
    /// To see in short whether something went wrong.
    pub const QUICK: Self = Self {
        messages: 4_000,
        rounds: 1,
        some: 10_000,
        stored: 50_000,
        selects: 50,
        idle: 200,
        announced: (100, 50),
        large: 20_000_000,
        megabytes: 200,
        peer_messages: 1_000,
        accounts: 20_000,
        ..Self::FULL
    };
}
