//! What a command says, as lines for people or as JSON.
//!
//! With JSON, a command that is carried out prints exactly one document on standard output, `{}` if it has nothing to tell;
//! one that fails prints an object on standard error instead. What zkCli only complains of and still exits with 0 for is a
//! failure there, too: a program reads no complaints. Where a part of a result is missing (nodes that may not be read), an error
//! follows the document.

use std::sync::atomic::{AtomicBool, Ordering};

use ferrokeeper_client::Error;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};
use crate::json;
use crate::screen::Screen;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As zkCli does.
    Text,
    /// As JSON.
    Json,
}

/// Prints a warning in a form.
pub fn warn(screen: &dyn Screen, form: Form, text: &str) {
    match form {
        Form::Text => screen.err(text),
        Form::Json => screen.err(&json!({ "warning": text }).to_string()),
    }
}

/// Prints why a command was not carried out.
pub fn fail(screen: &dyn Screen, form: Form, failure: &Failure) {
    match form {
        Form::Text => screen.err(&failure.message),
        Form::Json => screen.err(&json::failure(failure).to_string()),
    }
}

/// Steps between two pictures of how far something is.
const PROGRESS_STEP: u64 = 100;

fn bar(done: u64, of: u64) -> String {
    const WIDTH: u64 = 30;
    let filled = done.saturating_mul(WIDTH).checked_div(of).unwrap_or(0).min(WIDTH) as usize;
    format!("[{:.<30}] {done} of {of}", "#".repeat(filled))
}

/// So many nodes.
pub fn nodes(count: u64) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// One command's output.
pub struct Output<'s> {
    screen: &'s dyn Screen,
    form: Form,
    /// Whether there is a document.
    has_spoken: AtomicBool,
}

impl<'s> Output<'s> {
    /// Nothing yet.
    pub fn new(screen: &'s dyn Screen, form: Form) -> Output<'s> {
        Output { screen, form, has_spoken: AtomicBool::new(false) }
    }

    /// Whether somebody looks at the results.
    pub fn is_terminal(&self) -> bool {
        self.screen.is_terminal()
    }

    /// Whether results are printed as JSON.
    pub fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Prints a line of text, if text is what is printed.
    pub fn text(&self, text: &str) {
        if self.form == Form::Text {
            self.screen.out(text);
        }
    }

    /// Prints a document, if documents are what is printed.
    pub fn document(&self, document: impl FnOnce() -> Value) {
        if self.form == Form::Json {
            self.has_spoken.store(true, Ordering::Relaxed);
            self.screen.out(&document().to_string());
        }
    }

    /// Prints a result.
    pub fn result(&self, text: impl FnOnce() -> String, document: impl FnOnce() -> Value) {
        match self.form {
            Form::Text => self.screen.out(&text()),
            Form::Json => self.document(document),
        }
    }

    /// Prints text where zkCli takes a result for a complaint.
    pub fn remark(&self, text: &str) {
        if self.form == Form::Text {
            self.screen.err(text);
        }
    }

    /// Prints a complaint about something that does not keep the command from being carried out.
    pub fn warn(&self, text: &str) {
        warn(self.screen, self.form, text);
    }

    /// Complains on standard error and goes on, as zkCli does; with JSON, that is a failure.
    pub fn complain(&self, text: &str) -> Outcome {
        self.regret(Failure::new(text), |text| self.screen.err(text))
    }

    /// Likewise on standard output, where zkCli has some of its complaints.
    pub fn complain_as_result(&self, text: &str) -> Outcome {
        self.regret(Failure::new(text), |text| self.screen.out(text))
    }

    /// Likewise about an operation that failed.
    pub fn complain_of(&self, error: &Error, path: &str, text: &str) -> Outcome {
        self.regret(Failure::of(error, Some(path)), |_| self.screen.out(text))
    }

    fn regret(&self, failure: Failure, print: impl FnOnce(&str)) -> Outcome {
        match self.form {
            Form::Text => {
                print(&failure.message);
                Ok(())
            }
            Form::Json => Err(failure),
        }
    }

    /// Shows how far something is. Only every hundredth step is worth a terminal's time.
    pub fn progress(&self, done: u64, of: u64) {
        if done.is_multiple_of(PROGRESS_STEP) {
            self.screen.progress(&bar(done, of));
        }
    }

    /// Takes it away again.
    pub fn progress_is_over(&self) {
        self.screen.progress("");
    }

    /// Begins a result of many parts.
    pub fn list(&self, name: &'static str) -> List<'_, 's> {
        List { output: self, name, is_open: false }
    }

    /// The result comes with a later line.
    pub fn is_continued(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
    }

    /// The command was carried out.
    pub fn end(&self) {
        if !self.has_spoken.load(Ordering::Relaxed) {
            self.document(|| json!({}));
        }
    }
}

/// A result of many parts, which are printed as they come: one line each, or one document with one line for each.
pub struct List<'o, 's> {
    output: &'o Output<'s>,
    name: &'static str,
    is_open: bool,
}

impl List<'_, '_> {
    /// Prints a part.
    pub fn push(&mut self, text: impl FnOnce() -> String, part: impl FnOnce() -> Value) {
        match self.output.form {
            Form::Text => self.output.screen.out(&text()),
            Form::Json => {
                let before = if self.is_open { ",".to_owned() } else { self.head() };
                self.output.screen.out(&format!("{before}{}", part()));
                self.is_open = true;
            }
        }
    }

    /// Whether something of it is printed.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn head(&self) -> String {
        self.output.has_spoken.store(true, Ordering::Relaxed);
        format!("{{\"{}\":[", self.name)
    }

    /// Ends the result with what else there is to tell.
    pub fn end(self, rest: Map<String, Value>) {
        if self.output.form == Form::Text {
            return;
        }
        let head = if self.is_open { String::new() } else { self.head() };
        let rest: String = rest.iter().map(|(name, value)| format!(",{}:{value}", json!(name))).collect();
        self.output.screen.out(&format!("{head}]{rest}}}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Paper(Mutex<String>);

    impl Screen for Paper {
        fn out(&self, text: &str) {
            *self.0.lock().unwrap() += &format!("{text}\n");
        }

        fn err(&self, text: &str) {
            self.out(&format!("err {text}"));
        }
    }

    fn printed(form: Form, say: impl FnOnce(&Output<'_>)) -> String {
        let paper = Paper::default();
        let output = Output::new(&paper, form);
        say(&output);
        output.end();
        paper.0.into_inner().unwrap()
    }

    #[test]
    fn a_command_without_a_result_still_prints_a_document() {
        assert_eq!(printed(Form::Json, |_| {}), "{}\n");
        assert_eq!(printed(Form::Text, |_| {}), "");
        assert_eq!(printed(Form::Json, |output| output.warn("w")), "err {\"warning\":\"w\"}\n{}\n");
    }

    #[test]
    fn a_list_is_one_document_however_long() {
        let list = |count: u32| {
            printed(Form::Json, |output| {
                let mut list = output.list("numbers");
                for number in 0..count {
                    list.push(|| number.to_string(), || json!(number));
                }
                list.end([("more".to_owned(), json!(false))].into_iter().collect());
            })
        };
        assert_eq!(list(0), "{\"numbers\":[],\"more\":false}\n");
        assert_eq!(list(3), "{\"numbers\":[0\n,1\n,2\n],\"more\":false}\n");
        for count in [0, 1, 3] {
            assert_eq!(
                serde_json::from_str::<Value>(&list(count)).unwrap()["numbers"].as_array().unwrap().len(),
                count as usize
            );
        }
    }

    #[test]
    fn progress_never_passes_the_end() {
        assert_eq!(bar(1, 2), format!("[{}{}] 1 of 2", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(9, 2), format!("[{}] 9 of 2", "#".repeat(30)));
        assert_eq!(bar(0, 0), format!("[{}] 0 of 0", ".".repeat(30)));
    }

    #[test]
    fn with_json_a_complaint_is_a_failure() {
        let paper = Paper::default();
        assert!(Output::new(&paper, Form::Json).complain("c").is_err());
        assert!(Output::new(&paper, Form::Text).complain("c").is_ok());
        assert_eq!(paper.0.into_inner().unwrap(), "err c\n");
    }
}
