//! What one IMAP client may make us hold: every bound of framing and grammar.

/// Bounds on what a client sends. The framer and the grammar read them; nothing else bounds input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets of one line, or of one piece of a command between literals, with its line end.
    pub line_octets_max: usize,
    /// Octets of all pieces of one command outside its literals.
    pub text_octets_max: usize,
    /// Octets of one literal that isn't a message.
    pub literal_octets_max: u64,
    /// Octets of all literals of one command that aren't messages.
    pub literals_octets_max: u64,
    /// Number of literals of one command.
    pub literals_max: usize,
    /// Octets of refused input that are thrown away to keep the connection; more ends it.
    pub discard_octets_max: u64,
    /// Octets of a refused message literal that are thrown away; more ends the connection.
    pub message_discard_octets_max: u64,
    /// Octets of one line of a SASL exchange, with its line end.
    pub sasl_line_octets_max: usize,
    /// Octets of a tag.
    pub tag_octets_max: usize,
    /// Levels of parentheses, NOT and OR of a search.
    pub search_depth_max: usize,
    /// Keys of a search, counted at all levels.
    pub search_keys_max: usize,
    /// Tags of one CANCELUPDATE.
    pub cancelled_max: usize,
    /// Kinds of mailboxes that ESEARCH searches.
    pub search_sources_max: usize,
    /// Mailboxes that ESEARCH names.
    pub search_mailboxes_max: usize,
    /// Elements of a sequence set.
    pub sequence_set_elements_max: usize,
    /// Items of one FETCH.
    pub fetch_items_max: usize,
    /// Field names of one `HEADER.FIELDS`.
    pub header_fields_max: usize,
    /// Numbers of one part specifier (`1.2.3`).
    pub part_depth_max: usize,
    /// Keywords of one flag list.
    pub keywords_max: usize,
    /// Patterns of one LIST.
    pub list_patterns_max: usize,
    /// Entries of one GETMETADATA, SETMETADATA or LIST (METADATA).
    pub metadata_entries_max: usize,
    /// Groups of events of one NOTIFY.
    pub notify_groups_max: usize,
    /// Mailboxes that one NOTIFY names.
    pub notify_mailboxes_max: usize,
    /// Messages of one APPEND (RFC 3502).
    pub append_messages_max: usize,
    /// Parts of one message of CATENATE (RFC 4469).
    pub catenate_parts_max: usize,
    /// URLs of one GENURLAUTH or URLFETCH, mechanisms of one RESETKEY (RFC 4467).
    pub urls_max: usize,
    /// Pairs of one ID command (RFC 2971 §3.3).
    pub id_pairs_max: usize,
    /// Names of one ENABLE.
    pub enable_names_max: usize,
}

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;

impl Limits {
    /// For a client that has logged in.
    pub const AUTHENTICATED: Self = Self {
        line_octets_max: 16 * KIB,
        text_octets_max: 128 * KIB,
        literal_octets_max: 100 * KIB as u64,
        literals_octets_max: MIB,
        literals_max: 1000,
        discard_octets_max: 2 * MIB,
        message_discard_octets_max: 128 * MIB,
        sasl_line_octets_max: 12 * KIB,
        tag_octets_max: 256,
        search_depth_max: 50,
        search_keys_max: 2000,
        search_sources_max: 20,
        search_mailboxes_max: 1000,
        cancelled_max: 50,
        sequence_set_elements_max: 8192,
        fetch_items_max: 100,
        header_fields_max: 200,
        part_depth_max: 50,
        keywords_max: 100,
        list_patterns_max: 100,
        metadata_entries_max: 100,
        notify_groups_max: 50,
        notify_mailboxes_max: 1000,
        append_messages_max: 100,
        catenate_parts_max: 500,
        urls_max: 100,
        id_pairs_max: 30,
        enable_names_max: 50,
    };

    /// For a client that nobody knows yet: room for LOGIN, AUTHENTICATE and ID.
    pub const UNAUTHENTICATED: Self = Self {
        line_octets_max: 12 * KIB,
        text_octets_max: 16 * KIB,
        literal_octets_max: 1024,
        literals_octets_max: 8 * KIB as u64,
        literals_max: 16,
        discard_octets_max: 64 * KIB as u64,
        message_discard_octets_max: 64 * KIB as u64,
        ..Self::AUTHENTICATED
    };
}

const _: () = {
    let (known, unknown) = (Limits::AUTHENTICATED, Limits::UNAUTHENTICATED);
    assert!(known.line_octets_max <= known.text_octets_max);
    assert!(unknown.line_octets_max <= unknown.text_octets_max);
    assert!(known.literal_octets_max <= known.literals_octets_max);
    assert!(unknown.literal_octets_max <= unknown.literals_octets_max);
    assert!(known.literals_octets_max <= known.discard_octets_max);
    assert!(unknown.sasl_line_octets_max <= unknown.line_octets_max);
    assert!(known.tag_octets_max < unknown.line_octets_max);
};
