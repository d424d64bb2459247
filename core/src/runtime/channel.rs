//! Bounded channels between threads: shard to shard, thread to shard, shard to thread.

use flume::TrySendError as FlumeTrySendError;

/// The other side of the channel is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side of the channel is gone")]
pub struct Closed;

/// Why [`Sender::try_send`] gave the value back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel holds as many values as it may.
    Full(T),
    /// No receiver is left.
    Closed(T),
}

/// The sending side. Clones send into the same channel.
#[derive(Debug)]
pub struct Sender<T>(flume::Sender<T>);

/// The receiving side. Clones compete for values: each value goes to one of them.
#[derive(Debug)]
pub struct Receiver<T>(flume::Receiver<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Makes a channel that holds at most `values_max` values.
pub fn bounded<T>(values_max: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = flume::bounded(values_max);
    (Sender(sender), Receiver(receiver))
}

impl<T> Sender<T> {
    /// Sends without waiting.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(value).map_err(|error| match error {
            FlumeTrySendError::Full(value) => TrySendError::Full(value),
            FlumeTrySendError::Disconnected(value) => TrySendError::Closed(value),
        })
    }

    /// Sends, and waits for room first. When dropped before it is ready, nothing was sent.
    pub async fn send(&self, value: T) -> Result<(), Closed> {
        self.0.send_async(value).await.map_err(|_| Closed)
    }

    /// Sends from a thread that is not a shard; blocks while the channel is full.
    pub fn send_blocking(&self, value: T) -> Result<(), Closed> {
        self.0.send(value).map_err(|_| Closed)
    }

    /// Number of values that wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when no value waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Receiver<T> {
    /// Waits for the next value. `Err` once all senders are gone and the channel is empty.
    pub async fn recv(&self) -> Result<T, Closed> {
        self.0.recv_async().await.map_err(|_| Closed)
    }

    /// Takes a value that waits already.
    pub fn try_recv(&self) -> Option<T> {
        self.0.try_recv().ok()
    }

    /// Waits for the next value on a thread that is not a shard.
    pub fn recv_blocking(&self) -> Result<T, Closed> {
        self.0.recv().map_err(|_| Closed)
    }

    /// Number of values that wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when no value waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
