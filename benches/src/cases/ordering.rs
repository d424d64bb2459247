//! SORT and THREAD of a mailbox, and decoding of bodies.

use std::hint::black_box;

use anyhow::{Context as _, Result, anyhow};
use postrider_core::imap::commands::search::Place;
use postrider_core::imap::commands::sort::{Sorting, Step};
use postrider_core::imap::commands::thread::Threading;
use postrider_proto::imap::command::{Direction, SortCriterion, SortKey, ThreadAlgorithm};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::mime::decode::{Decoder, TransferEncoding};

use super::{Case, removals};
use crate::World;

/// The mailbox that is put in order.
const MESSAGES: u32 = 10_000;

impl World {
    fn all(&self) -> Result<Place> {
        let at = self.place(MESSAGES)?;
        let view = self.view(at)?;
        Ok(Place { account: at.account, mailbox: at.mailbox, view })
    }
}

fn sorting(name: &str, key: SortKey) -> Case {
    let things = (MESSAGES - removals(MESSAGES)) as usize;
    Case::new(format!("{name}_of_{MESSAGES}"), Some(MESSAGES), things, move |world| {
        let place = world.all()?;
        let criteria = [SortCriterion { key, direction: Direction::Ascending }];
        Ok(Box::new(move || {
            let mut sorting = Sorting::new(&place, &criteria, place.view.clone());
            loop {
                let step = sorting.run(world.store()).map_err(|error| anyhow!("{error:?}"))?;
                if let Step::Done(sorted) = step {
                    return Ok(sorted.len());
                }
            }
        }))
    })
}

fn threading(name: &str, algorithm: ThreadAlgorithm) -> Case {
    let things = (MESSAGES - removals(MESSAGES)) as usize;
    Case::new(format!("{name}_of_{MESSAGES}"), Some(MESSAGES), things, move |world| {
        let place = world.all()?;
        Ok(Box::new(move || {
            let mut threading = Threading::new(&place, algorithm, Numbering::Uid, place.view.clone());
            loop {
                let response = threading.run(world.store()).map_err(|error| anyhow!("{error:?}"))?;
                if let Some(response) = response {
                    // Numbers are parted by spaces and brackets.
                    let numbers = response.split(|octet| !octet.is_ascii_digit());
                    return Ok(numbers.filter(|number| !number.is_empty()).count());
                }
            }
        }))
    })
}

fn decoding(name: &str, encoding: TransferEncoding, line: &'static [u8], octets: usize) -> Case {
    Case::new(name, None, octets, move |_| {
        let text = line.repeat(1000);
        let mut out = Vec::with_capacity(text.len());
        Ok(Box::new(move || {
            out.clear();
            let mut decoder = Decoder::new(encoding).context("it is decoded")?;
            decoder.push(black_box(&text), &mut out);
            Ok(out.len())
        }))
    })
}

pub(super) fn cases() -> Vec<Case> {
    const BASE64: &[u8] = b"QSBsaW5lIG9mIHRleHQgYXMgbWFpbCBoYXMgbWFueSwgYW5kIG5vbmUgb2YgdGhlbSBpcyBsb25n\r\n";
    const QUOTED: &[u8] =
        b"A line of text as mail has m=C3=A4ny, and again a word, and another one here.\r\n";
    vec![
        sorting("sort_by_arrival", SortKey::Arrival),
        sorting("sort_by_subject", SortKey::Subject),
        threading("thread_by_references", ThreadAlgorithm::References),
        decoding("decode_base64_of_1000_lines", TransferEncoding::Base64, BASE64, 57_000),
        decoding("decode_quoted_printable_of_1000_lines", TransferEncoding::QuotedPrintable, QUOTED, 75_000),
    ]
}
