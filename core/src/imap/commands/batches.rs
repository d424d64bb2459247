//! UIDBATCHES (RFC 10022).

use postrider_proto::imap::command::UidBatches;
use postrider_proto::imap::response::{Code, write_uid_batches};
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;

use crate::imap::session::{Completion, CompletionCode, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};

/// Smaller batches are refused: the standard's own bound, so that clients don't make many of them.
const SIZE_MIN: u32 = 500;
/// Batches that are told at most: two million messages at the least.
const BATCHES_MAX: u32 = 4096;

/// Does it.
pub async fn uid_batches(context: &mut Context<'_>, command: UidBatches) -> Result<Completion, Ended> {
    let size = command.size.get();
    let (first, last) = match &command.batches {
        Some(batches) if batches.is_empty() => {
            let bad = Completion::bad("the range of batches is the wrong way round");
            return Ok(bad.with(CompletionCode::Plain(Code::ClientBug)));
        }
        Some(batches) => (batches.start().get(), batches.end().get()),
        None => (1, u32::MAX),
    };
    if size < SIZE_MIN {
        return Ok(Completion::refused(Code::TooFew, "a batch has 500 messages at least"));
    }
    let last = last.min(context.selected.view.len().div_ceil(size));
    if last.saturating_sub(first) >= BATCHES_MAX {
        return Ok(Completion::refused(Code::TooMany, "too many batches, ask for a range of them"));
    }
    let batches = batches(&context.selected.view, size, first, last);
    write_uid_batches(&mut context.out.buffer, context.tag, batches);
    context.sync(Expunges::Now, OwnFlags::Tell).await?;
    Ok(Completion::ok("UIDBATCHES done"))
}

/// The highest and lowest uid of each batch from `first` to `last`, counted from the end of `view`.
/// Batches lie side by side, so that they hold every uid; the last one of all ends with 1.
fn batches(view: &UidSet, size: u32, first: u32, last: u32) -> impl Iterator<Item = (Uid, Uid)> + '_ {
    // The lowest uid of all batches up to `number`; none when they hold the whole mailbox.
    let lowest = move |number: u32| {
        let messages = number.saturating_mul(size);
        view.len().checked_sub(messages).filter(|left| *left > 0).and_then(|left| view.uid_at(left + 1))
    };
    (first..=last).filter_map(move |number| {
        let highest = match number {
            1 => view.last()?,
            _ => Uid::new(lowest(number - 1)?.get() - 1)?,
        };
        Some((highest, lowest(number).unwrap_or(Uid::MIN)))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn told(view: &UidSet, size: u32, first: u32, last: u32) -> Vec<(u32, u32)> {
        batches(view, size, first, last).map(|(high, low)| (high.get(), low.get())).collect()
    }

    #[test]
    fn batches_hold_their_number_of_messages_and_every_uid() {
        // Every third uid.
        let view: UidSet = (1..=10).map(|number| Uid::new(number * 3).unwrap()).collect();
        assert_eq!(told(&view, 4, 1, 3), [(30, 21), (20, 9), (8, 1)]);
        assert_eq!(told(&view, 4, 2, 2), [(20, 9)]);
        assert_eq!(told(&view, 5, 1, 2), [(30, 18), (17, 1)], "the last one is full");
        assert_eq!(told(&view, 10, 1, 1), [(30, 1)]);
        assert_eq!(told(&view, u32::MAX, 1, 1), [(30, 1)]);
        assert!(told(&view, 4, 4, 3).is_empty());
        assert!(told(&UidSet::new(), 4, 1, 0).is_empty());
        for size in 1..12 {
            let told = told(&view, size, 1, 10_u32.div_ceil(size));
            assert_eq!((told[0].0, told.last().unwrap().1), (30, 1));
            assert!(told.windows(2).all(|pair| pair[1].0 == pair[0].1 - 1), "{told:?}");
            let uid = |number| Uid::new(number).unwrap();
            let counts: Vec<_> =
                told.iter().map(|(high, low)| view.between(uid(*low)..=uid(*high)).len()).collect();
            assert!(counts[..counts.len() - 1].iter().all(|count| *count == size), "{counts:?}");
            assert_eq!(counts.iter().sum::<u32>(), 10);
        }
    }
}
