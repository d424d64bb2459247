//! The closing line of a run.

/// How the tests of a run ended.
#[derive(Default)]
pub struct Summary {
    /// Names of those that passed.
    pub passed: Vec<String>,
    /// Names of those that can't run without root.
    pub skipped: Vec<String>,
    /// Names of those that failed, each with the reason.
    pub failed: Vec<(String, String)>,
}

impl Summary {
    /// Prints the failures and the closing line; true when nothing failed.
    pub fn print(&self) -> bool {
        for (name, reason) in &self.failed {
            eprintln!("\nFAILED {name}\n{reason}");
        }
        for name in &self.skipped {
            eprintln!("SKIPPED {name}: it needs root");
        }
        let (passed, failed, skipped) = (self.passed.len(), self.failed.len(), self.skipped.len());
        println!("external: {passed} passed, {failed} failed, {skipped} skipped");
        self.failed.is_empty() && !self.passed.is_empty()
    }
}
