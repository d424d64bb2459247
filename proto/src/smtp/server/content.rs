//! Content on its way: DATA and chunks.

use super::super::Reply;
use super::super::body::{ChunkReader, DataProgress, DataReader, HeaderWatch, LineEnds};
use super::super::command::Chunk;
use super::super::envelope::BodyType;
use super::{Action, Envelope, Fate, Message, Opening, Pending, Question, Reader, Session, State};

/// What became of a piece of content.
enum Piece {
    /// Passed on, or read over.
    Fine,
    /// More was read over than the connection is worth.
    TooMuch,
}

impl Session {
    /// Begins the content, which the driver has a place for now.
    pub(super) fn begin_content(&mut self, envelope: Box<Envelope>, opening: Opening) {
        self.counts.failed_transactions += 1; // taken back when it is delivered
        self.content_deadline = self.now + self.limits().content_total;
        let expected = envelope.declared_octets.unwrap_or(0).min(self.limits().content_buffer_octets as u64);
        self.content.reserve(expected as usize);
        let line_ends = if envelope.body == BodyType::BinaryMime { LineEnds::Binary } else { LineEnds::Text };
        let reader = match opening {
            Opening::Data => Reader::Data(DataReader::new()),
            Opening::Chunk(_) => Reader::Chunk(ChunkReader::new(line_ends)),
        };
        let message = Box::new(Message {
            envelope,
            reader,
            watch: HeaderWatch::default(),
            read_octets: 0,
            fate: Fate::Open,
        });
        match opening {
            Opening::Data => {
                self.send(Reply::START_CONTENT);
                self.state = State::Data(message);
            }
            Opening::Chunk(chunk) => self.enter_chunk(message, chunk),
        }
    }

    pub(super) fn enter_chunk(&mut self, message: Box<Message>, chunk: Chunk) {
        self.state = State::Chunk { message, left: chunk.octets, last: chunk.last };
    }

    /// Reads content from `rest`; says how much it used, or none when it has to wait.
    pub(super) fn content_step(&mut self, rest: &[u8]) -> Option<usize> {
        let needs_input =
            !matches!(self.state, State::Chunk { left: 0, .. } | State::Discarding { left: 0, .. });
        if needs_input && (rest.is_empty() || self.is_content_full()) {
            return None;
        }
        if needs_input {
            self.idle_deadline = self.now + self.limits().content_idle;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Data(message) => Some(self.read_data(message, rest)),
            State::Chunk { message, left, last } => Some(self.read_chunk(message, left, last, rest)),
            State::Discarding { left, reply } => Some(self.read_over(left, reply, rest)),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn read_data(&mut self, mut message: Box<Message>, rest: &[u8]) -> usize {
        let before = self.content.len();
        let Reader::Data(reader) = &mut message.reader else { return 0 };
        let progress = reader.push(rest, &mut self.content);
        let used = match progress {
            DataProgress::More => rest.len(),
            DataProgress::Ended(used) => used,
        };
        if let Piece::TooMuch = self.pass_on(&mut message, before, used) {
            self.close(Reply::MESSAGE_TOO_BIG);
        } else if progress == DataProgress::More {
            self.state = State::Data(message);
        } else {
            self.end_content(*message);
        }
        used
    }

    fn read_chunk(&mut self, mut message: Box<Message>, left: u64, last: bool, rest: &[u8]) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - used as u64;
        let before = self.content.len();
        let Reader::Chunk(reader) = &mut message.reader else { return 0 };
        reader.push(&rest[..used], &mut self.content);
        if left == 0 && last {
            reader.finish();
        }
        if let Piece::TooMuch = self.pass_on(&mut message, before, used) {
            self.close(Reply::MESSAGE_TOO_BIG);
        } else if left > 0 {
            self.state = State::Chunk { message, left, last };
        } else if last || message.fate == Fate::Refused {
            // A chunk that is refused ends the transaction: those that follow find none (RFC 3030 §2).
            self.end_content(*message);
        } else {
            self.idle_deadline = self.now + self.limits().command_idle;
            self.state = State::Chunked(message);
            self.send(Reply::CHUNK_OK);
        }
        used
    }

    fn read_over(&mut self, left: u64, reply: Box<Reply>, rest: &[u8]) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - used as u64;
        self.counts.discarded_octets += used as u64;
        if left > 0 {
            self.state = State::Discarding { left, reply };
        } else {
            self.idle_deadline = self.now + self.limits().command_idle;
            self.strike(*reply);
        }
        used
    }

    /// Looks at what was appended to the content since `before`. A message with a fault is discarded at
    /// once, and the rest of it read over, as long as the connection is worth it.
    fn pass_on(&mut self, message: &mut Message, before: usize, read: usize) -> Piece {
        message.read_octets += read as u64;
        message.watch.push(&self.content[before..]);
        let refused = match message.fate {
            Fate::Open if self.judge(message).is_none() => return Piece::Fine,
            Fate::Open => message.read_octets,
            Fate::Refused => read as u64,
        };
        if message.fate == Fate::Open {
            message.fate = Fate::Refused;
            self.drop_content();
        }
        self.content.truncate(0);
        self.counts.discarded_octets += refused;
        if self.counts.discarded_octets > self.limits().discard_octets_max {
            return Piece::TooMuch;
        }
        Piece::Fine
    }

    /// Why the message is to be refused, so far.
    fn judge(&self, message: &Message) -> Option<Reply> {
        let fault = match &message.reader {
            Reader::Data(reader) => reader.fault(),
            Reader::Chunk(reader) => reader.fault(),
        };
        if fault.is_some() {
            return Some(Reply::BARE_CR_LF);
        }
        let facts = message.watch.facts();
        if facts.octets > self.limits().message_octets_max {
            return Some(Reply::MESSAGE_TOO_BIG);
        }
        (facts.received_fields > self.limits().received_fields_max).then_some(Reply::MAIL_LOOP)
    }

    /// The true end of the content. The envelope goes with it, whatever the verdict.
    fn end_content(&mut self, message: Message) {
        self.idle_deadline = self.now + self.limits().command_idle;
        match self.judge(&message) {
            Some(reply) => self.send(reply),
            None => {
                let facts = message.watch.facts();
                self.ask(Question::Deliver { envelope: message.envelope, facts }, Pending::Deliver);
            }
        }
    }

    /// The driver has no place for the content.
    pub(super) fn refuse_content(&mut self, opening: Opening, reply: Reply) {
        match opening {
            Opening::Data => self.send(reply),
            Opening::Chunk(chunk)
                if chunk.octets
                    > self.limits().discard_octets_max.saturating_sub(self.counts.discarded_octets) =>
            {
                self.close(reply);
            }
            Opening::Chunk(chunk) => self.begin_discarding(chunk, reply),
        }
    }

    /// Counts what became of a message that was asked about.
    pub(super) fn count_delivery(&mut self, reply: &Reply) {
        self.content = Vec::new();
        if !reply.is_refusal() {
            self.counts.failed_transactions = self.counts.failed_transactions.saturating_sub(1);
            self.counts.good_transactions = self.counts.good_transactions.saturating_add(1);
            self.counts.idle_commands = 0;
        }
    }

    /// Slows the connection down, or lets it go on.
    pub(super) fn set_pace(&mut self, pace: super::Pace) {
        self.actions.push_back(Action::SetPace(pace));
    }
}
