//! Benchmarks of the hot paths. Each case is one thing that happens for every command, message or row.
//!
//! A case is counted in instructions by `cargo xtask counts`, which says whether it became dearer than the
//! figures in `benches/counts.tsv`, and timed by `cargo bench --package postrider-benches`. Both run the
//! same closures on the same mailboxes, kept on disk by the server's own engine.

mod cases;
mod world;

pub use cases::{Case, Run, all};
pub use world::{MAILBOXES, World};

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody counts with every change; a case that no longer does what it says would be found out when somebody wants
    /// its figure.
    #[test]
    fn every_case_does_what_it_says() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let most = MAILBOXES.into_iter().min().unwrap_or(0);
        drop(World::prepare(dir.path(), most)?);
        let fits = |case: &Case| case.mailbox.is_none_or(|messages| messages <= most);
        let cases: Vec<Case> = all().into_iter().filter(fits).collect();
        assert!(cases.len() > 40, "only {}", cases.len());
        for case in cases {
            let world = World::open(dir.path())?;
            let mut run = case.ready(&world)?;
            for _ in 0..2 {
                case.check(run()?)?;
            }
        }
        Ok(())
    }
}
