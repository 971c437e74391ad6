//! Prints the table for the documentation.

use super::{Group, Key, Kind, Property, Status, all};
use std::fmt::Write;

/// The whole table as Markdown: one section a chapter, one row a key.
pub fn render_markdown() -> String {
    let mut page = String::new();
    let mut chapter: Option<Group> = None;
    for key in all() {
        if chapter != Some(key.group) {
            let blank = if chapter.is_some() { "\n" } else { "" };
            chapter = Some(key.group);
            page.push_str(blank);
            page.push_str(&heading(key.group));
        }
        page.push_str(&row(key));
    }
    page
}

fn heading(group: Group) -> String {
    format!(
        "## {}\n\n\
         | key | system property | value | default | meaning | in this release |\n\
         |---|---|---|---|---|---|\n",
        group.title()
    )
}

fn row(key: &Key) -> String {
    let mut names = code(key.name);
    for other in key.also {
        let _ = write!(names, ", {}", code(other));
    }
    let property = match key.property {
        Property::FileOnly => "–".to_owned(),
        Property::Prefixed => "`zookeeper.` + key".to_owned(),
        Property::Exact(property) => code(property),
    };
    let value = match (kind(key), key.unit) {
        (kind, "") => kind.to_owned(),
        (kind, unit) => format!("{kind}, {unit}"),
    };
    let default = if key.default.is_empty() { "–".to_owned() } else { code(key.default) };
    let status = match key.status {
        Status::Built => "built".to_owned(),
        Status::BuiltForEnsemble { alone } => format!("built; without effect on a server alone: {alone}"),
        Status::NoEffect(why) => format!("no effect: {why}"),
        Status::NotBuilt { lacking, .. } => format!("not built: {lacking}"),
        Status::RefusedIfSet(why) => format!("refuses to start: {why}"),
        Status::RefusedWithOthers { why, alone } => {
            format!("refuses to start where there are other members: {why}; otherwise not built: {alone}")
        }
    };
    let cells = [names, property, value, default, key.meaning.to_owned(), status];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn kind(key: &Key) -> &'static str {
    match key.kind {
        Kind::Int | Kind::Long | Kind::DecimalInt | Kind::DecimalLong => "number",
        Kind::Fraction => "number, may have a fraction",
        Kind::Flag => "`true` or `false`",
        Kind::OnlyYes | Kind::UnlessNo => "`yes` or `no`",
        Kind::Interval => "number, or number with `ms`, `s`, `m`, `h`, `d`",
        Kind::Text => "text",
        Kind::Secret => "text, never printed",
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_well_formed_row_for_every_key() {
        let page = render_markdown();
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, all().count());
        for line in page.lines().filter(|line| line.starts_with('|')) {
            let columns = line.replace("\\|", "").matches('|').count();
            assert_eq!(columns, 7, "{line}");
        }
        assert_eq!(page.matches("\n## ").count() + 1, 8, "one section a chapter");
    }
}
