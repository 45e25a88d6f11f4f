//! Terms as `~w` and `~p` write them: on one line, or broken into lines where it is too long.
//!
//! Source: `io_lib:write/2` and `io_lib_pretty.erl` in stdlib, whose rules decide where a line is broken.

use crate::term::{Term, is_printable, write_float, write_quoted};

/// What is nested deeper is written as `...`. Erlang has no such limit; here it bounds the program's stack.
const NESTING_MAX: usize = 128;

/// How terms are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// As `~p` does, not `~w`: they differ in what is left out at the depth's end, too.
    pub(super) pretty: bool,
    /// Lists and binaries of printable characters are strings.
    pub(super) strings: bool,
    /// The modifier `t`: without it characters beyond Latin-1 are escaped, and make no string.
    pub(super) unicode: bool,
}

/// A term on one line. `depth` is that of `~W` and `~P`.
pub(super) fn line(term: &Term, depth: Option<usize>, style: Style) -> String {
    let mut text = String::new();
    node(term, depth, NESTING_MAX, style).write(&mut text);
    text
}

/// A term in lines of up to `length` characters, where that is possible; the first begins in `column`, from 1 on.
pub(super) fn lines(term: &Term, depth: Option<usize>, style: Style, column: usize, length: usize) -> String {
    let node = node(term, depth, NESTING_MAX, style);
    let column = column.max(1);
    if length == 0 || node.text().is_some() || node.len < length.saturating_sub(column) {
        let mut text = String::new();
        node.write(&mut text);
        return text;
    }
    let page = |tag_indent| Page {
        length: signed(length),
        chars_max: signed(node.len),
        tag_indent,
        text: String::new(),
        measuring: true,
    };
    // How far what follows a tuple's tag is indented: as far as the tag is wide, or by 4, or by 1 where nothing else fits.
    let place = Place { column: signed(column), closing: 0, used: 0 };
    let fits = |indent: &i64| page(*indent).term(&node, place, 0);
    let mut page = page([-1, 4].into_iter().find(fits).unwrap_or(1));
    page.measuring = false;
    page.term(&node, place, signed(column) - 1);
    page.text
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A term that is to be written, and its length on one line.
struct Node {
    kind: Kind,
    len: usize,
}

enum Kind {
    /// What is never broken.
    Text(String),
    /// The numbers of a binary, the last with `:` and its size if it is no byte, or `...`.
    Bytes(Vec<String>),
    List(Vec<Node>, Tail),
    Tuple {
        /// Its first element is an atom, and not the only one.
        tagged: bool,
        elements: Vec<Node>,
        dots: bool,
    },
    Map(Vec<Pair>, bool),
}

/// What stands after a list's elements.
enum Tail {
    Nil,
    Dots,
    Term(Box<Node>),
}

struct Pair {
    key: Node,
    value: Node,
}

impl Pair {
    fn len(&self) -> usize {
        self.key.len + " => ".len() + self.value.len
    }

    fn is_text(&self) -> bool {
        self.key.text().is_some() && self.value.text().is_some()
    }

    fn write(&self, text: &mut String) {
        self.key.write(text);
        text.push_str(" => ");
        self.value.write(text);
    }
}

impl Kind {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

const DOTS: &str = "...";

/// How many of the elements `depth` has room for: the first has one less than the whole, and each further one less again.
fn shown<T>(elements: &[T], depth: Option<usize>) -> &[T] {
    match depth {
        Some(depth) => &elements[..elements.len().min(depth.saturating_sub(1))],
        None => elements,
    }
}

fn less(depth: Option<usize>, by: usize) -> Option<usize> {
    depth.map(|depth| depth.saturating_sub(by))
}

fn node(term: &Term, depth: Option<usize>, nesting: usize, style: Style) -> Node {
    let kind = kind(term, depth, nesting, style);
    let separated = |lens: &mut dyn ExactSizeIterator<Item = usize>, dots: bool| {
        let commas = (lens.len() + usize::from(dots)).saturating_sub(1);
        lens.sum::<usize>() + commas + if dots { DOTS.len() } else { 0 }
    };
    let len = match &kind {
        Kind::Text(text) => text.chars().count(),
        Kind::Bytes(pieces) => 4 + separated(&mut pieces.iter().map(String::len), false),
        Kind::List(elements, tail) => {
            let len = 2 + separated(&mut elements.iter().map(|node| node.len), matches!(tail, Tail::Dots));
            if let Tail::Term(tail) = tail { len + 1 + tail.len } else { len }
        }
        Kind::Tuple { elements, dots, .. } => 2 + separated(&mut elements.iter().map(|node| node.len), *dots),
        Kind::Map(pairs, dots) => 3 + separated(&mut pairs.iter().map(Pair::len), *dots),
    };
    Node { kind, len }
}

fn kind(term: &Term, depth: Option<usize>, nesting: usize, style: Style) -> Kind {
    let is_container = !term.children().is_empty();
    if depth == Some(0) || (nesting == 0 && is_container) {
        return Kind::text(DOTS);
    }
    // An element of this index.
    let child = |(index, term): (usize, &Term)| node(term, less(depth, index + 1), nesting - 1, style);
    match term {
        Term::List(elements) => {
            if let Some(string) = string(elements, depth, style) {
                return Kind::Text(string);
            }
            let shown = shown(elements, depth);
            let tail = if shown.len() < elements.len() { Tail::Dots } else { Tail::Nil };
            match elements.is_empty() {
                true => Kind::text("[]"),
                false => Kind::List(shown.iter().enumerate().map(child).collect(), tail),
            }
        }
        Term::ImproperList(list) => {
            let shown = shown(term.children(), depth);
            let elements = list.elements().len();
            let tail = match shown.get(elements) {
                Some(tail) => Tail::Term(Box::new(child((elements, tail)))),
                None => Tail::Dots,
            };
            Kind::List(shown.iter().take(elements).enumerate().map(child).collect(), tail)
        }
        Term::Tuple(elements) => {
            let shown = shown(elements, depth);
            match &elements[..] {
                [] => Kind::text("{}"),
                _ if shown.is_empty() => Kind::text("{...}"),
                [first, ..] => Kind::Tuple {
                    tagged: first.as_atom().is_some() && elements.len() > 1,
                    elements: shown.iter().enumerate().map(child).collect(),
                    dots: shown.len() < elements.len(),
                },
            }
        }
        Term::Map(map) => {
            let all: Vec<_> = map.iter().collect();
            let shown = shown(&all, depth);
            if shown.is_empty() {
                return Kind::text(if all.is_empty() || !style.pretty { "#{}" } else { "#{...}" });
            }
            // Keys and values all have the same depth.
            let child = |term| node(term, less(depth, 1), nesting - 1, style);
            let pairs = shown.iter().map(|(key, value)| Pair { key: child(key), value: child(value) });
            // `~W` writes dots also where no pair is left that they could stand for.
            let dots = shown.len() < all.len() || (!style.pretty && depth == Some(all.len() + 1));
            Kind::Map(pairs.collect(), dots)
        }
        Term::Binary(bytes) => binary(bytes, depth, style),
        Term::BitString(bits) => {
            let (last, whole) =
                bits.bytes().split_last().map_or((0, &[][..]), |(last, whole)| (*last, whole));
            let last = format!("{}:{}", last >> (8 - bits.bits()), bits.bits());
            pieces(whole, Some(last), depth, style)
        }
        Term::Atom(atom) if !style.unicode => Kind::Text(latin1(atom.to_string())),
        Term::Float(value) => {
            let mut text = String::new();
            let _ = write_float(*value, &mut text);
            Kind::Text(text)
        }
        other => Kind::Text(other.to_string()),
    }
}

/// Characters beyond Latin-1 as `\x{...}`. Only a quoted atom has them.
fn latin1(text: String) -> String {
    if text.chars().all(|char| char <= '\u{ff}') {
        return text;
    }
    let escape = |char| match char {
        char if char <= '\u{ff}' => String::from(char),
        char => format!("\\x{{{:X}}}", u32::from(char)),
    };
    text.chars().map(escape).collect()
}

fn quoted(chars: impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    let _ = write_quoted(chars, '"', &mut text);
    text
}

fn may_be_printed(code: u32, style: Style) -> bool {
    is_printable(code) && (style.unicode || code <= 0xFF)
}

/// A list that is written as a string.
fn string(elements: &[Term], depth: Option<usize>, style: Style) -> Option<String> {
    let char = |term: &Term| {
        let code = u32::try_from(term.as_integer()?).ok()?;
        char::from_u32(code).filter(|_| may_be_printed(code, style))
    };
    if !style.strings || depth == Some(1) || elements.is_empty() {
        return None;
    }
    // Looked at twice, so that a long list that is no text costs no memory.
    elements.iter().all(|term| char(term).is_some()).then(|| quoted(elements.iter().filter_map(char)))
}

fn binary(bytes: &[u8], depth: Option<usize>, style: Style) -> Kind {
    if bytes.is_empty() {
        return Kind::text("<<>>");
    }
    if style.pretty && depth == Some(1) {
        return Kind::text("<<...>>");
    }
    if style.strings
        && let Some(string) = binary_string(bytes, less(depth, 1), style)
    {
        return Kind::Text(string);
    }
    pieces(bytes, None, depth, style)
}

/// Four characters of a binary have a depth of one.
const CHARS_PER_DEPTH: usize = 4;

/// A binary that is written as a string, or of which as many characters are printable as `depth` says.
fn binary_string(bytes: &[u8], depth: Option<usize>, style: Style) -> Option<String> {
    let room = depth.map_or(bytes.len(), |depth| (CHARS_PER_DEPTH * depth).min(bytes.len()));
    let cut = |printable: usize| depth.is_some_and(|depth| depth > 0 && printable >= depth);
    // Only as much is looked at as is written.
    let utf8 = bytes.utf8_chunks().next().filter(|_| style.unicode);
    if let Some(chunk) =
        utf8.filter(|chunk| chunk.invalid().is_empty() || chunk.valid().chars().count() >= room)
    {
        let chars = || chunk.valid().chars().take(room);
        let printable = chars().take_while(|char| may_be_printed(u32::from(*char), style)).count();
        let text = || chunk.valid().chars().take(printable);
        let len = text().map(char::len_utf8).sum::<usize>();
        let whole = len == bytes.len();
        if !whole && !cut(printable) {
            return None;
        }
        let utf8 = if len == printable { "" } else { "/utf8" };
        return Some(format!("<<{}{utf8}{}>>", quoted(text()), if whole { "" } else { DOTS }));
    }
    let printable =
        bytes.iter().take(room).take_while(|byte| may_be_printed(u32::from(**byte), style)).count();
    let whole = printable == bytes.len();
    if !whole && !cut(printable) {
        return None;
    }
    let text = quoted(bytes.iter().take(printable).map(|byte| char::from(*byte)));
    Some(format!("<<{text}{}>>", if whole { "" } else { DOTS }))
}

/// The numbers of a binary, and of the bits after its last byte.
fn pieces(bytes: &[u8], last: Option<String>, depth: Option<usize>, style: Style) -> Kind {
    if style.pretty && depth == Some(1) {
        return Kind::text("<<...>>");
    }
    let all = bytes.len() + usize::from(last.is_some());
    let shown = depth.map_or(all, |depth| all.min(depth.saturating_sub(1)));
    let mut pieces: Vec<String> = bytes.iter().take(shown).map(ToString::to_string).collect();
    if shown < all {
        pieces.push(DOTS.to_owned());
    } else {
        pieces.extend(last);
    }
    Kind::Bytes(pieces)
}

impl Node {
    fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// On one line.
    fn write(&self, text: &mut String) {
        fn elements(nodes: &[Node], text: &mut String) {
            for (index, node) in nodes.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                node.write(text);
            }
        }
        match &self.kind {
            Kind::Text(own) => text.push_str(own),
            Kind::Bytes(pieces) => {
                text.push_str("<<");
                text.push_str(&pieces.join(","));
                text.push_str(">>");
            }
            Kind::List(nodes, tail) => {
                text.push('[');
                elements(nodes, text);
                text.push_str(if nodes.is_empty() || matches!(tail, Tail::Nil) { "" } else { "|" });
                match tail {
                    Tail::Nil => {}
                    Tail::Dots => text.push_str(DOTS),
                    Tail::Term(node) => node.write(text),
                }
                text.push(']');
            }
            Kind::Tuple { elements: nodes, dots, .. } => {
                text.push('{');
                elements(nodes, text);
                text.push_str(if *dots { ",...}" } else { "}" });
            }
            Kind::Map(pairs, dots) => {
                text.push_str("#{");
                for (index, pair) in pairs.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    pair.write(text);
                }
                text.push_str(if *dots { ",...}" } else { "}" });
            }
        }
    }
}

/// Where lines end.
struct Page {
    length: i64,
    /// The most characters of a line without its indentation.
    chars_max: i64,
    /// How far what follows a tuple's tag is indented at most; below zero as far as the tag is wide.
    tag_indent: i64,
    text: String,
    /// Nothing is written; it is only asked whether all indentations stay within half a line.
    measuring: bool,
}

/// Where a term begins.
#[derive(Clone, Copy)]
struct Place {
    column: i64,
    /// How many brackets close right after the term.
    closing: i64,
    /// How many characters of its line are taken, without the indentation.
    used: i64,
}

/// How far the rest of a container has come.
#[derive(Clone, Copy)]
struct Elements<'a> {
    left: &'a [Node],
    end: End<'a>,
}

#[derive(Clone, Copy)]
enum End<'a> {
    Nil,
    Dots(&'static str),
    Term(&'a Node),
}

impl Page {
    fn put(&mut self, text: &str) {
        if !self.measuring {
            self.text.push_str(text);
        }
    }

    fn put_node(&mut self, node: &Node) {
        if !self.measuring {
            node.write(&mut self.text);
        }
    }

    fn new_line(&mut self, indent: i64) {
        self.put("\n");
        self.text.extend((0..indent).filter(|_| !self.measuring).map(|_| ' '));
    }

    /// Whether so many characters fit into the line.
    fn has_room(&self, len: usize, at: Place) -> bool {
        let len = signed(len);
        len < self.length - at.column - at.closing && len + at.used + at.closing <= self.chars_max
    }

    /// Whether as many fit with a comma before them, and one after them if more elements follow.
    fn has_room_after_comma(&self, len: usize, at: Place) -> bool {
        if at.closing == 0 { self.has_room(len + 2, at) } else { self.has_room(len + 1, at) }
    }

    /// Whether what is indented up to this column has room, or at least half a line.
    fn may_indent(&self, column: i64) -> bool {
        !self.measuring || self.chars_max + column <= self.length || column <= self.length / 2
    }

    /// Writes a term; says whether it fits, if that is measured.
    fn term(&mut self, node: &Node, at: Place, indent: i64) -> bool {
        if self.has_room(node.len, at) {
            self.put_node(node);
            return true;
        }
        let inner = Place { column: at.column + 1, used: at.used + 1, ..at };
        match &node.kind {
            Kind::Text(text) => {
                self.put(text);
                true
            }
            Kind::Bytes(pieces) => {
                self.bytes(pieces, at, indent + 2);
                true
            }
            Kind::List(nodes, tail) => {
                let end = match tail {
                    Tail::Nil => End::Nil,
                    Tail::Dots => End::Dots("|"),
                    Tail::Term(node) => End::Term(node),
                };
                self.put("[");
                let fits = self.elements(Elements { left: nodes, end }, inner, indent + 1);
                self.put("]");
                fits
            }
            Kind::Tuple { tagged, elements, dots } => {
                let elements =
                    Elements { left: elements, end: if *dots { End::Dots(",") } else { End::Nil } };
                self.put("{");
                let fits = if *tagged {
                    self.tagged(elements, Place { used: at.used + 1, ..at }, indent)
                } else {
                    self.elements(elements, inner, indent + 1)
                };
                self.put("}");
                fits
            }
            Kind::Map(pairs, dots) => {
                self.put("#{");
                let fits = self.pairs(pairs, *dots, Place { column: at.column + 2, ..inner }, indent + 2);
                self.put("}");
                fits
            }
        }
    }

    /// The elements of a tuple with an atom for its first.
    fn tagged(&mut self, elements: Elements<'_>, at: Place, indent: i64) -> bool {
        let Some((tag, left)) = elements.left.split_first() else { return true };
        let (tag_len, left) = (signed(tag.len), Elements { left, ..elements });
        let after = tag_len + 2;
        self.put_node(tag);
        if self.tag_indent > 0 && after > self.tag_indent {
            let column = at.column + self.tag_indent;
            let place = Place { column: at.column + after, used: at.used + tag_len, ..at };
            return self.may_indent(column) && self.further(left, column, place, indent + self.tag_indent);
        }
        let column = at.column + after;
        let narrow = self.chars_max + column < self.length || column < self.length / 2;
        if self.measuring && !narrow {
            return false;
        }
        self.put(",");
        self.elements(left, Place { column, used: at.used + tag_len + 1, ..at }, indent + after)
    }

    /// Elements, the first at this place.
    fn elements(&mut self, elements: Elements<'_>, at: Place, indent: i64) -> bool {
        let Some((first, left)) = elements.left.split_first() else {
            self.put(DOTS);
            return true;
        };
        let left = Elements { left, ..elements };
        let first_at = Place { closing: left.closing(at.closing), ..at };
        let Some(width) = self.element(first, first_at, indent) else { return false };
        let next = Place { column: at.column + width, used: at.used + width, ..at };
        self.further(left, at.column, next, indent)
    }

    /// The elements after the first: on the same line as long as they are short and fit, or on lines of their own.
    fn further(&mut self, mut elements: Elements<'_>, column: i64, mut at: Place, indent: i64) -> bool {
        while let Some((next, left)) = elements.left.split_first() {
            elements.left = left;
            let closing = elements.closing(at.closing);
            self.put(",");
            if next.text().is_some() && self.has_room_after_comma(next.len, Place { closing, ..at }) {
                self.put_node(next);
                let len = 1 + signed(next.len);
                at = Place { column: at.column + len, used: at.used + len, ..at };
            } else {
                self.new_line(indent);
                let Some(width) = self.element(next, Place { column, closing, used: 0 }, indent) else {
                    return false;
                };
                at = Place { column: column + width, used: width, ..at };
            }
        }
        match elements.end {
            End::Nil => true,
            End::Dots(separator) => {
                self.put(separator);
                self.put(DOTS);
                true
            }
            End::Term(tail) => {
                let closing = at.closing + 1;
                self.put("|");
                if tail.text().is_some() && self.has_room(tail.len + 1, Place { closing, ..at }) {
                    self.put_node(tail);
                    return true;
                }
                self.new_line(indent);
                // Erlang measures this as if it went on on the line.
                let column = if self.measuring { at.column } else { column };
                self.term(tail, Place { column, closing, used: 0 }, indent)
            }
        }
    }

    /// An element, and how wide it is: as wide as a line, if nothing may follow it on its own.
    fn element(&mut self, node: &Node, at: Place, indent: i64) -> Option<i64> {
        if node.text().is_some() && self.has_room(node.len, at) {
            self.put_node(node);
            return Some(signed(node.len));
        }
        self.term(node, at, indent).then_some(self.length)
    }

    fn pairs(&mut self, pairs: &[Pair], dots: bool, at: Place, indent: i64) -> bool {
        let closing = |left: &[Pair]| if left.is_empty() { at.closing + 1 } else { 0 };
        let (column, mut at, mut pairs) = (at.column, at, pairs);
        let mut is_first = true;
        while let Some((pair, left)) = pairs.split_first() {
            pairs = left;
            let place = Place { closing: closing(left), ..at };
            self.put(if is_first { "" } else { "," });
            if !is_first && pair.is_text() && self.has_room_after_comma(pair.len(), place) {
                self.put_pair(pair);
                let len = 1 + signed(pair.len());
                at = Place { column: at.column + len, used: at.used + len, ..at };
                continue;
            }
            let used = if is_first { at.used } else { 0 };
            if !is_first {
                self.new_line(indent);
            }
            let Some(width) = self.pair(pair, Place { column, used, ..place }, indent) else { return false };
            at = Place { column: column + width, used: width, ..at };
            is_first = false;
        }
        self.put(if dots { ",..." } else { "" });
        true
    }

    fn put_pair(&mut self, pair: &Pair) {
        if !self.measuring {
            pair.write(&mut self.text);
        }
    }

    fn pair(&mut self, pair: &Pair, at: Place, indent: i64) -> Option<i64> {
        if self.has_room(pair.len(), at) {
            self.put_pair(pair);
            return Some(if pair.is_text() { signed(pair.len()) } else { self.length });
        }
        let by = if self.tag_indent > 0 { self.tag_indent } else { 4 };
        let fits = self.term(&pair.key, at, indent);
        self.put(" =>");
        self.new_line(indent + by);
        let value = Place { column: at.column + by, used: 0, ..at };
        (fits && self.term(&pair.value, value, indent + by)).then_some(self.length)
    }

    fn bytes(&mut self, pieces: &[String], at: Place, indent: i64) {
        let line = (self.length - at.column - 2).min(self.chars_max - 4 - at.used) - at.closing;
        let line = line.max(8);
        let mut room = line;
        self.put("<<");
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == pieces.len();
            let len = signed(piece.len()) + i64::from(!is_last);
            if len > room {
                self.new_line(indent);
                room = line;
            }
            room -= len;
            self.put(piece);
            self.put(if is_last { "" } else { "," });
        }
        self.put(">>");
    }
}

impl Elements<'_> {
    /// How many brackets close after the element before these.
    fn closing(&self, outer: i64) -> i64 {
        if self.left.is_empty() { outer + 1 } else { 0 }
    }
}
