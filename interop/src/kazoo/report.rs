//! Reading pytest's JUnit report: which test ended how.

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As it should.
    Passed,
    /// By a failed assertion, or an error before or after the test.
    Failed,
    /// It decided not to run.
    Skipped,
}

/// One test of the report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestCase {
    /// `test_file.py::Class::test`, as pytest takes it on its command line.
    pub id: String,
    /// How it ended.
    pub ending: Ending,
}

/// Reads the report. Only what pytest writes is understood: `testcase` elements with `classname` and `name`,
/// empty or with children; text inside them is escaped.
pub fn parse(xml: &str) -> Vec<TestCase> {
    let mut cases = Vec::new();
    for element in xml.split("<testcase ").skip(1) {
        let Some((tag, rest)) = element.split_once('>') else { continue };
        let content = if tag.ends_with('/') { "" } else { rest.split("</testcase>").next().unwrap_or("") };
        let ending = if content.contains("<failure") || content.contains("<error") {
            Ending::Failed
        } else if content.contains("<skipped") {
            Ending::Skipped
        } else {
            Ending::Passed
        };
        let class = attribute(tag, "classname").unwrap_or_default();
        let name = attribute(tag, "name").unwrap_or_default();
        cases.push(TestCase { id: id(&class, &name), ending });
    }
    merge(cases)
}

/// `test_client.TestClient` and `test_x` to `test_client.py::TestClient::test_x`.
fn id(class: &str, name: &str) -> String {
    let mut parts = class.split('.').skip_while(|part| !part.starts_with("test_"));
    let file = parts.next().unwrap_or(class);
    let mut id = format!("{file}.py");
    for part in parts.chain([name]) {
        id += "::";
        id += part;
    }
    id
}

/// A test that passes and then fails in its cleaning up stands in the report twice: it failed.
fn merge(cases: Vec<TestCase>) -> Vec<TestCase> {
    let mut merged: Vec<TestCase> = Vec::new();
    for case in cases {
        match merged.iter_mut().find(|known| known.id == case.id) {
            Some(known) if case.ending == Ending::Failed => known.ending = Ending::Failed,
            Some(_) => {}
            None => merged.push(case),
        }
    }
    merged
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!("{name}=\"");
    // A space in front, so that `name` is not found at the end of `classname`.
    let at =
        if tag.starts_with(&start) { start.len() } else { tag.find(&format!(" {start}"))? + start.len() + 1 };
    let value = tag[at..].split('"').next()?;
    let unescaped =
        value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_told() {
        let xml = r#"<testsuite tests="4"><testcase classname="test_a.C" name="t1" time="0.1" />
            <testcase classname="test_a.C" name="t2" time="0.1"><failure message="1 &gt; 2">&lt;testcase x</failure></testcase>
            <testcase classname="test_a" name="t3[&quot;x&quot;]" time="0"><skipped type="pytest.skip" message="no"/></testcase>
            <testcase classname="test_a.C" name="t4"><error message="setup">x</error></testcase></testsuite>"#;
        let told: Vec<(String, Ending)> = parse(xml).into_iter().map(|case| (case.id, case.ending)).collect();
        let expected = [
            ("test_a.py::C::t1", Ending::Passed),
            ("test_a.py::C::t2", Ending::Failed),
            ("test_a.py::t3[\"x\"]", Ending::Skipped),
            ("test_a.py::C::t4", Ending::Failed),
        ];
        assert_eq!(told, expected.map(|(id, ending)| (id.to_string(), ending)));
    }

    #[test]
    fn a_test_that_cannot_clean_up_failed() {
        let xml = r#"<testcase classname="test_a.C" name="t" /><testcase classname="test_a.C" name="t"><error/></testcase>"#;
        assert_eq!(parse(xml), [TestCase { id: "test_a.py::C::t".into(), ending: Ending::Failed }]);
    }

    #[test]
    fn packages_in_front_of_the_file_are_dropped() {
        assert_eq!(id("kazoo.tests.test_lock.TestSequence", "t"), "test_lock.py::TestSequence::t");
    }
}
