//! The table that a run ends with: figures, the floors that they are held to, and whether they keep them.

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What came out.
    pub figure: String,
    /// What it is held to, and whether it keeps that.
    pub floor: Option<(String, bool)>,
}

impl Row {
    /// A figure that nothing is asked of.
    pub fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), floor: None }
    }

    /// What the figure is held to.
    pub fn floor(mut self, floor: impl Into<String>, met: bool) -> Self {
        self.floor = Some((floor.into(), met));
        self
    }

    /// Whether it misses its floor.
    pub fn misses(&self) -> bool {
        matches!(self.floor, Some((_, false)))
    }

    fn cells(&self) -> [&str; 4] {
        let (floor, verdict) = match &self.floor {
            None => ("", ""),
            Some((floor, true)) => (floor.as_str(), "pass"),
            Some((floor, false)) => (floor.as_str(), "MISSED"),
        };
        [&self.what, &self.figure, floor, verdict]
    }
}

/// The rows as a table in Markdown.
pub fn print(rows: &[Row]) -> String {
    let heads = ["", "figure", "floor", ""];
    let mut lines: Vec<[&str; 4]> = vec![heads];
    lines.extend(rows.iter().map(Row::cells));
    let widths: [usize; 4] =
        std::array::from_fn(|at| lines.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, cells) in lines.iter().enumerate() {
        for (cell, width) in cells.iter().zip(widths) {
            text += &format!("| {cell:width$} ");
        }
        text += "|\n";
        if number == 0 {
            text += &widths.map(|width| format!("|{}", "-".repeat(width + 2))).concat();
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            Row::new("rate", "1,000 a second").floor("over 900", true),
            Row::new("a longer name", "3").floor("under 2", false),
            Row::new("memory", "12 MiB"),
        ];
        let expected = "\
|               | figure         | floor    |        |
|---------------|----------------|----------|--------|
| rate          | 1,000 a second | over 900 | pass   |
| a longer name | 3              | under 2  | MISSED |
| memory        | 12 MiB         |          |        |
";
        assert_eq!(print(&rows), expected);
        assert_eq!(rows.iter().filter(|row| row.misses()).count(), 1);
    }
}
