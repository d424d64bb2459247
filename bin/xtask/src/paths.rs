//! Documents name paths; a path that is gone makes a document a wrong map.

use std::fs;

use crate::cargo::root;

const FOLDERS: [&str; 8] = ["proto/", "dns/", "storage/", "core/", "bin/", "benches/", "perf/", "docs/"];

#[test]
fn paths_named_in_documents_exist() {
    let mut named = 0;
    for document in [
        "README.md",
        "docs/architecture.md",
        "docs/containers.md",
        "docs/dependencies.md",
        "docs/storage.md",
        "docs/threats.md",
    ] {
        let text = fs::read_to_string(root().join(document)).expect(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            if FOLDERS.iter().any(|folder| quoted.starts_with(folder)) && !quoted.contains([' ', '*']) {
                named += 1;
                assert!(
                    root().join(quoted).exists() || root().join(format!("{quoted}.rs")).exists(),
                    "{document} names {quoted}, which isn't there"
                );
            }
        }
    }
    assert!(named > 20, "only {named} paths were found: the test doesn't see them");
}
