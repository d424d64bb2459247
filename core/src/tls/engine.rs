//! One TLS connection without its socket: records in, plaintext and records out.

use std::cell::RefCell;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic};
use rustls::unbuffered::{EncryptError, InsufficientSizeError};
use rustls::{CommonState, Error};

use super::binding;

/// More than the overhead of any record: header 5, type 1, nonce 8, tag 16.
const RECORD_OVERHEAD: usize = 64;
const RECORD_OCTETS: usize = 16 * 1024;
/// Send buffers that a thread keeps for its connections to use.
const SPARE_BUFFERS_MAX: usize = 16;
/// A larger buffer is not kept.
const SPARE_OCTETS_MAX: usize = 128 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Either side of a connection.
pub(super) enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// A connection and what it wants to send.
pub(super) struct Engine {
    side: Side,
    /// Records not yet written; borrowed from the thread's spare buffers while not empty.
    outgoing: Vec<u8>,
    binding: Option<[u8; 32]>,
    peer_closed: bool,
    /// rustls panics when it is asked to go on after some of its errors, so nobody asks.
    failed: Option<Error>,
    /// Nor does it get input after our close_notify: it would panic on input that is wrong, where
    /// it may not send an alert any more.
    closed: bool,
}

/// What a connection does next.
#[derive(Debug)]
pub(super) enum Progress {
    /// More input is needed, for the handshake or for data.
    NeedInput,
    /// Nothing works any more. An alert may be among what is to be sent.
    Failed(Error),
}

impl Engine {
    pub(super) fn new(side: Side) -> Self {
        Self { side, outgoing: Vec::new(), binding: None, peer_closed: false, failed: None, closed: false }
    }

    pub(super) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    pub(super) fn binding(&self) -> Option<[u8; 32]> {
        self.binding
    }

    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    pub(super) fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    pub(super) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Gives the send buffer back once all of it was written.
    pub(super) fn outgoing_written(&mut self) {
        let mut buffer = std::mem::take(&mut self.outgoing);
        if buffer.capacity() == 0 || buffer.capacity() > SPARE_OCTETS_MAX {
            return;
        }
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_BUFFERS_MAX {
                spare.push(buffer);
            }
        });
    }

    /// Works through `incoming`, gives plaintext to `sink`, and returns how many octets of the
    /// front of `incoming` are done with. The rest must come first in the next call.
    pub(super) fn advance(&mut self, incoming: &mut [u8], sink: &mut dyn FnMut(&[u8])) -> (usize, Progress) {
        if let Some(error) = &self.failed {
            return (incoming.len(), Progress::Failed(error.clone()));
        }
        if self.closed {
            return (incoming.len(), Progress::NeedInput);
        }
        self.borrow_buffer();
        let (result, secret) = binding::tapped(|| match &mut self.side {
            Side::Server(connection) => {
                run(connection, incoming, &mut self.outgoing, &mut self.peer_closed, sink)
            }
            Side::Client(connection) => {
                run(connection, incoming, &mut self.outgoing, &mut self.peer_closed, sink)
            }
        });
        if let (Some(secret), Some(suite)) = (secret, self.common().negotiated_cipher_suite()) {
            self.binding = binding::derive(&secret, suite);
        }
        if let Progress::Failed(error) = &result.1 {
            self.failed = Some(error.clone());
        }
        if self.outgoing.is_empty() {
            self.outgoing_written();
        }
        result
    }

    /// Encrypts `plaintext` behind what is to be sent already. `incoming` is what `advance` left.
    pub(super) fn encrypt(&mut self, incoming: &mut Vec<u8>, plaintext: &[u8]) -> Result<(), Error> {
        self.with_traffic(incoming, |traffic, output| {
            let start = output.len();
            let room = plaintext.len() + (plaintext.len() / RECORD_OCTETS + 2) * RECORD_OVERHEAD;
            output.resize(start + room, 0);
            append(output, start, |space| traffic.encrypt(plaintext, space))
        })
    }

    /// Puts a close_notify behind what is to be sent already. What the peer sends from now on is
    /// ignored.
    pub(super) fn close(&mut self, incoming: &mut Vec<u8>) -> Result<(), Error> {
        let result = self.with_traffic(incoming, |traffic, output| {
            let start = output.len();
            output.resize(start + RECORD_OVERHEAD, 0);
            append(output, start, |space| traffic.queue_close_notify(space))
        });
        self.closed = true;
        result
    }

    fn with_traffic(
        &mut self,
        incoming: &mut Vec<u8>,
        mut write: impl FnMut(&mut dyn Traffic, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.closed {
            return Err(Error::General("TLS connection is closed".to_owned()));
        }
        self.borrow_buffer();
        let result = match &mut self.side {
            Side::Server(connection) => run_to_traffic(connection, incoming, &mut self.outgoing, &mut write),
            Side::Client(connection) => run_to_traffic(connection, incoming, &mut self.outgoing, &mut write),
        };
        self.failed = result.clone().err();
        result
    }

    fn borrow_buffer(&mut self) {
        if self.outgoing.capacity() == 0 {
            self.outgoing = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
    }
}

/// Lets `write` fill the space behind `start`, enlarging it once if it is too small.
fn append(
    output: &mut Vec<u8>,
    start: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let mut written = write(&mut output[start..]);
    if let Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) = written {
        output.resize(start + required_size, 0);
        written = write(&mut output[start..]);
    }
    output.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(|_| ()).map_err(|error| Error::General(error.to_string()))
}

/// What both sides of rustls' unbuffered interface have in common.
trait Connection {
    type Data;
    fn wants_write(&self) -> bool;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Connection for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Connection for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

trait Traffic {
    fn encrypt(&mut self, plaintext: &[u8], output: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, output: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Traffic for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plaintext: &[u8], output: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plaintext, output)
    }
    fn queue_close_notify(&mut self, output: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, output)
    }
}

fn run<C: Connection>(
    connection: &mut C,
    incoming: &mut [u8],
    output: &mut Vec<u8>,
    peer_closed: &mut bool,
    sink: &mut dyn FnMut(&[u8]),
) -> (usize, Progress) {
    let mut done = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process(&mut incoming[done..]);
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut step = None;
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            sink(record.payload);
                        }
                        Err(error) => step = Some(Progress::Failed(error)),
                    }
                }
                step
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, output);
                None
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                *peer_closed = true;
                None
            }
            // The handshake is over and there is no whole record left, or the same in the midst of it.
            Ok(
                ConnectionState::WriteTraffic(_)
                | ConnectionState::BlockedHandshake
                | ConnectionState::Closed,
            ) => Some(Progress::NeedInput),
            // Early data is switched off.
            Ok(_) => Some(Progress::Failed(Error::General("unexpected TLS state".to_owned()))),
            Err(error) => {
                take_alert(connection, output);
                Some(Progress::Failed(error))
            }
        };
        done += discard;
        if let Some(progress) = step {
            return (done, progress);
        }
    }
}

/// After an error: fetches the alert that tells the peer. No step beyond what is waiting to be
/// sent may be taken.
fn take_alert<C: Connection>(connection: &mut C, output: &mut Vec<u8>) {
    while connection.wants_write() {
        match connection.process(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, output),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
            _ => return,
        }
    }
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, output: &mut Vec<u8>) {
    let start = output.len();
    let mut encoded = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = encoded {
        output.resize(start + required_size, 0);
        encoded = data.encode(&mut output[start..]);
    }
    output.truncate(start + encoded.unwrap_or(0));
}

type TrafficWriter<'a> = dyn FnMut(&mut dyn Traffic, &mut Vec<u8>) -> Result<(), Error> + 'a;

/// Gets to the state in which data can be written; records of the connection itself go first.
fn run_to_traffic<C: Connection>(
    connection: &mut C,
    incoming: &mut Vec<u8>,
    output: &mut Vec<u8>,
    write: &mut TrafficWriter<'_>,
) -> Result<(), Error> {
    loop {
        let UnbufferedStatus { discard, state } = connection.process(incoming);
        let finished = match state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                write(&mut traffic, output)?;
                true
            }
            ConnectionState::EncodeTlsData(data) => {
                encode(data, output);
                false
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                false
            }
            _ => return Err(Error::General("TLS connection cannot send".to_owned())),
        };
        incoming.drain(..discard);
        if finished {
            return Ok(());
        }
    }
}
