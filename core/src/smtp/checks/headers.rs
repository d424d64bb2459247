//! What the headers of all messages on their way through a shard may take in memory.

use std::cell::Cell;
use std::rc::Rc;

/// Octets that are kept on a shard.
pub struct Headers {
    all: Rc<Cell<usize>>,
    max: usize,
}

/// What one message keeps of them; given back when it is dropped.
pub(in crate::smtp) struct Held {
    all: Rc<Cell<usize>>,
    max: usize,
    octets: usize,
}

impl Headers {
    /// Octets of headers that a shard keeps at once. Each is kept until the checks of its message are done, and may have
    /// 256 KiB; ordinary ones have ten.
    pub const OCTETS_MAX: usize = 64 << 20;

    /// None are kept yet, and at most so many octets ever.
    pub fn new(max: usize) -> Self {
        Self { all: Rc::default(), max }
    }

    /// Nothing, for a message that begins.
    pub(in crate::smtp) fn hold(&self) -> Held {
        Held { all: Rc::clone(&self.all), max: self.max, octets: 0 }
    }
}

impl Held {
    /// Holds so many octets from now on. False, and nothing changes, when there is no room.
    pub(in crate::smtp) fn set(&mut self, octets: usize) -> bool {
        let all = self.all.get() - self.octets + octets;
        let has_room = octets <= self.octets || all <= self.max;
        if has_room {
            self.all.set(all);
            self.octets = octets;
        }
        has_room
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_together_have_a_limit_and_give_back_what_they_held() {
        let headers = Headers::new(100);
        let (mut one, mut other) = (headers.hold(), headers.hold());
        assert!(one.set(90) && other.set(10));
        assert!(!other.set(11) && !one.set(91));
        assert!(one.set(5) && other.set(95) && !one.set(6));
        drop(other);
        assert_eq!(headers.all.get(), 5);
        assert!(one.set(100) && !one.set(101));
        drop(one);
        assert_eq!(headers.all.get(), 0);
    }
}
