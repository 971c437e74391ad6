//! How scenarios are written.

/// Commands, and the effects that they must have.
pub(crate) struct Block<'t> {
    /// Comments and empty lines in front.
    preamble: Vec<&'t str>,
    pub(crate) commands: Vec<&'t str>,
    pub(crate) expected: Vec<&'t str>,
    /// Where the first command stands, counted from 1.
    line: usize,
}

impl Block<'_> {
    pub(crate) fn line_of_command(&self, at: usize) -> usize {
        self.line + at
    }

    /// The line of the first effect that is not what was seen, or of the end of the block if there is one too few.
    pub(crate) fn first_difference(&self, seen: &[String]) -> Option<usize> {
        let same = self.expected.iter().zip(seen).take_while(|(one, other)| one == other).count();
        // Behind the commands is the line `----`.
        (self.expected != seen).then(|| self.line + self.commands.len() + 1 + same)
    }

    /// The block as it should be, with what was seen.
    pub(crate) fn write(&self, seen: &[String], out: &mut String) {
        let mut add = |line: &str| {
            out.push_str(line);
            out.push('\n');
        };
        self.preamble.iter().for_each(|line| add(line));
        if !self.commands.is_empty() {
            self.commands.iter().for_each(|line| add(line));
            add("----");
            seen.iter().for_each(|line| add(line));
        }
    }
}

/// Comments at the end are a block without commands.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while lines.peek().is_some() {
        let (mut preamble, mut commands, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((line, _)) = lines.next_if(|(line, _)| line.is_empty() || line.starts_with('#')) {
            preamble.push(line);
        }
        let line = lines.peek().map_or(0, |(_, at)| *at);
        // The first is a command, whatever it says: effects without one are for the world to refuse.
        commands.extend(lines.next().map(|(line, _)| line));
        while let Some((line, _)) = lines.next_if(|(line, _)| *line != "----" && !line.is_empty()) {
            commands.push(line);
        }
        if lines.next_if(|(line, _)| *line == "----").is_some() {
            while let Some((line, _)) = lines.next_if(|(line, _)| !line.is_empty()) {
                expected.push(line);
            }
        }
        blocks.push(Block { preamble, commands, expected, line });
    }
    blocks
}
