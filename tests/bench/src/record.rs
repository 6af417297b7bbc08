//! Writes the figures into the document: between two comments, one pair for each case.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// Replaces the text between `<!-- bench:CASE -->` and `<!-- /bench:CASE -->`.
pub(crate) fn record(document: &Path, case: &str, markdown: &str) -> Result<(), Failure> {
    let text = fs::read_to_string(document).map_err(Failure::io(format!("read {}", document.display())))?;
    let text = replaced(&text, case, markdown).ok_or_else(|| {
        let document = document.display();
        Failure::measurement(format!(
            "{document} has no place for {case}: <!-- bench:{case} --> … <!-- /bench:{case} -->"
        ))
    })?;
    fs::write(document, text).map_err(Failure::io(format!("write {}", document.display())))
}

fn replaced(text: &str, case: &str, markdown: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench:{case} -->\n"), format!("<!-- /bench:{case} -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_old, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{markdown}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_the_cases_own_place_changes() {
        let text =
            "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n<!-- bench:y -->\nkept\n<!-- /bench:y -->\n";
        let once = replaced(text, "x", "new").unwrap();
        assert_eq!(
            once,
            text.replace("old", "\nnew\n").replace("\n\n\nnew", "\n\nnew").replace("new\n\n", "new\n")
        );
        assert_eq!(replaced(&once, "x", "new").unwrap(), once);
        assert_eq!(replaced(text, "z", "new"), None);
    }
}
