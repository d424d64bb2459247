//! The form in which stores are kept here: gzip of the files, one behind the other, each with a line of its length without
//! the zeros at its end, its whole length, and its path. (Journals are files of 64 MiB, nearly all of it zeros.)

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use postrider_proto::gzip::decompress;

/// The most that comes out of one.
const OCTETS_MAX: usize = 16 << 20;

/// Puts the files of a pack into a folder.
pub fn unpack(pack: &[u8], folder: &Path) {
    let octets = decompress(pack, OCTETS_MAX).unwrap();
    let mut rest = &octets[..];
    while !rest.is_empty() {
        let end = rest.iter().position(|octet| *octet == b'\n').unwrap();
        let (line, files) = rest.split_at(end);
        let [written, whole, path] =
            std::str::from_utf8(line).unwrap().splitn(3, ' ').collect::<Vec<_>>()[..].try_into().unwrap();
        let (content, others) = files[1..].split_at(written.parse().unwrap());
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(path).unwrap();
        file.write_all(content).unwrap();
        file.set_len(whole.parse().unwrap()).unwrap();
        rest = others;
    }
}
