//! Tables that read alike in a terminal and as Markdown. The program `peers/run` has this file too.

/// A table of cells, its header first. Columns are as wide as their widest cell, and all but the first are aligned to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &[String]| {
        let cells = widths.iter().enumerate().map(|(column, &width)| {
            let cell = row.get(column).map(String::as_str).unwrap_or_default();
            if column == 0 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| {
        if column == 0 {
            format!(" {} |", "-".repeat(width))
        } else {
            format!(" {}: |", "-".repeat(width - 1))
        }
    });
    let mut lines = rows.iter().map(|row| line(row));
    let header = lines.next().unwrap_or_default();
    format!("{header}|{}\n{}", rule.collect::<String>(), lines.collect::<String>())
}

/// As many digits as say something.
pub fn number(value: f64) -> String {
    match value {
        value if value < 0.01 => format!("{value:.5}"),
        value if value < 1.0 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}
