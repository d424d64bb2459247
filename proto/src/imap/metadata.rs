//! Names of annotations (RFC 5464 §3.2).

use std::fmt;

/// Who sees an annotation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// `/private`: every user has a value of its own.
    Private,
    /// `/shared`: one value for all who may see the mailbox.
    Shared,
}

impl Scope {
    /// The first component of a name.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Private => "/private",
            Self::Shared => "/shared",
        }
    }
}

/// The name of an annotation, or of what others lie below, in lower case: names don't depend on case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryName {
    scope: Scope,
    path: Box<str>,
}

impl EntryName {
    /// Octets of a name.
    pub const OCTETS_MAX: usize = 256;
    /// Components of a name below `vendor`, at least (RFC 5464 §3.2).
    const VENDOR_COMPONENTS_MIN: usize = 3;

    /// Makes a name from what a client wrote; none when it can't be one.
    pub fn new(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let valid = |octet: u8| matches!(octet, b' '..=b'~') && octet != b'*' && octet != b'%';
        let wrong = text.ends_with('/') || text.contains("//") || !text.bytes().all(valid);
        if wrong || text.len() > Self::OCTETS_MAX {
            return None;
        }
        let text = text.to_ascii_lowercase();
        [Scope::Private, Scope::Shared].into_iter().find_map(|scope| {
            let path = text.strip_prefix(scope.prefix())?;
            (path.is_empty() || path.starts_with('/')).then(|| Self { scope, path: path.into() })
        })
    }

    /// A name whose parts are known to be valid.
    pub fn of(scope: Scope, path: &str) -> Self {
        Self { scope, path: path.into() }
    }

    /// Who sees it.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// What follows the scope; it begins with a slash, or is empty.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it may have a value: it has two components, below `vendor` four.
    pub fn may_have_value(&self) -> bool {
        let mut components = self.path.split('/').skip(1);
        match components.next() {
            None => false,
            Some("vendor") => components.count() + 1 >= Self::VENDOR_COMPONENTS_MIN,
            Some(_) => true,
        }
    }

    /// How many levels `path` of the same scope lies below this name: 0 when it is the same; none when
    /// it doesn't.
    pub fn levels_above(&self, path: &str) -> Option<usize> {
        let below = path.strip_prefix(&*self.path)?;
        (below.is_empty() || below.starts_with('/')).then(|| below.matches('/').count())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scope.prefix())?;
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn name(text: &str) -> Option<EntryName> {
        EntryName::new(text.as_bytes())
    }

    #[test]
    fn names_have_a_scope_and_no_case() {
        let comment = name("/PRIVATE/Comment").unwrap();
        assert_eq!((comment.scope(), comment.path()), (Scope::Private, "/comment"));
        assert_eq!(comment.to_string(), "/private/comment");
        assert_eq!(name("/shared").unwrap().path(), "");
        for bad in
            ["", "/", "comment", "/other/comment", "/privately/x", "private/x", "/private/", "/private//x"]
        {
            assert_eq!(name(bad), None, "{bad}");
        }
        for bad in ["/private/a*", "/private/a%b", "/private/\u{e9}", "/private/a\tb", "/private/\u{7f}"] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert_eq!(EntryName::new(b"/private/\xff"), None);
        let long = format!("/private/{}", "x".repeat(EntryName::OCTETS_MAX - 9));
        assert!(name(&long).is_some() && name(&format!("{long}x")).is_none());
    }

    #[test]
    fn a_value_needs_two_components_and_below_vendor_four() {
        let may = |text| name(text).unwrap().may_have_value();
        assert!(may("/private/comment") && may("/shared/a/b") && may("/shared/vendor/x/y"));
        assert!(!may("/private") && !may("/private/vendor") && !may("/private/vendor/x"));
    }

    #[test]
    fn levels_are_counted_between_components() {
        let above = name("/shared/a").unwrap();
        assert_eq!(above.levels_above("/a"), Some(0));
        assert_eq!(above.levels_above("/a/b"), Some(1));
        assert_eq!(above.levels_above("/a/b/c"), Some(2));
        assert_eq!(above.levels_above("/ab"), None);
        assert_eq!(above.levels_above("/"), None);
        assert_eq!(name("/shared").unwrap().levels_above("/a/b"), Some(2));
    }
}
