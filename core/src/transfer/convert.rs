//! Line ends: CRLF in messages, LF in files.

/// Makes every line end CRLF. A bare CR stays.
#[derive(Debug, Default)]
pub(super) struct ToCrlf {
    after_cr: bool,
}

impl ToCrlf {
    /// Appends `octets` to `out`.
    pub(super) fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            out.extend_from_slice(line);
            let after_cr = line.last().map_or(self.after_cr, |last| *last == b'\r');
            out.extend_from_slice(if after_cr { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = after.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
        if let Some(last) = rest.last() {
            self.after_cr = *last == b'\r';
        }
    }
}

/// Makes every CRLF an LF. A bare CR stays.
#[derive(Debug, Default)]
pub(super) struct ToLf {
    held_cr: bool,
}

impl ToLf {
    /// Appends `octets` to `out`.
    pub(super) fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        if self.held_cr && !rest.is_empty() {
            self.held_cr = false;
            if rest.first() != Some(&b'\n') {
                out.push(b'\r');
            }
        }
        while let Some(at) = memchr::memchr(b'\r', rest) {
            let (line, after) = rest.split_at(at);
            out.extend_from_slice(line);
            match after.get(1) {
                None => {
                    self.held_cr = true;
                    return;
                }
                Some(b'\n') => {}
                Some(_) => out.push(b'\r'),
            }
            rest = after.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }

    /// Ends the text.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.held_cr {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_do_not_depend_on_how_octets_are_cut() {
        for (file, message) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"\n\n", b"\r\n\r\n"),
            (b"a\rb\n\r", b"a\rb\r\n\r"),
            (b"", b""),
        ] {
            for size in 1..=message.len().max(1) {
                let (mut crlf, mut lf) = (ToCrlf::default(), ToLf::default());
                let (mut made, mut back) = (Vec::new(), Vec::new());
                file.chunks(size).for_each(|part| crlf.push(part, &mut made));
                assert_eq!(made, message, "{size}");
                message.chunks(size).for_each(|part| lf.push(part, &mut back));
                lf.finish(&mut back);
                assert_eq!(back, file, "{size}");
                // What has CRLF already stays.
                let (mut crlf, mut same) = (ToCrlf::default(), Vec::new());
                message.chunks(size).for_each(|part| crlf.push(part, &mut same));
                assert_eq!(same, message, "{size}");
            }
        }
    }
}
