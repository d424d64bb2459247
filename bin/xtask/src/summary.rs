//! The closing line of a run.

/// How the tests of a run ended.
#[derive(Default)]
pub struct Summary {
    /// Names of those that passed.
    pub passed: Vec<String>,
    /// Names of those that can't run here, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// Names of those that failed, each with the reason.
    pub failed: Vec<(String, String)>,
}

impl Summary {
    /// Prints the failures and the closing line; true when nothing failed.
    pub fn print(&self) -> bool {
        for (name, reason) in &self.failed {
            eprintln!("\nFAILED {name}\n{reason}");
        }
        for (name, reason) in &self.skipped {
            eprintln!("SKIPPED {name}: {reason}");
        }
        let (passed, failed, skipped) = (self.passed.len(), self.failed.len(), self.skipped.len());
        println!("external: {passed} passed, {failed} failed, {skipped} skipped");
        self.failed.is_empty() && !self.passed.is_empty()
    }
}

/// Names the tests of the workspace that could not run, which the test harness counts as passed.
pub fn print_skipped(skipped: &[(String, String)]) {
    for (name, reason) in skipped {
        eprintln!("SKIPPED {name}: {reason}");
    }
    println!("workspace: {} tests skipped", skipped.len());
}
