//! Any value comes back, and is on its way what a codec that knows nothing of it reads.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    Leaf,
    Value(Value),
    Both(Box<Self>, Box<Self>),
    Named { name: String, child: Option<Box<Self>> },
    Many(Vec<Self>),
    Answer(Result<Box<Self>, Value>),
    Done(Result<(), Value>),
    ByKey(BTreeMap<String, Self>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Value {
    small: u8,
    wide: i128,
    float: f64,
    text: String,
    char: char,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    list: Vec<u8>,
    flag: bool,
    atom: Option<Atom>,
    pid: Pid,
    reference: Reference,
    tuple: (u64, i8, ()),
}

prop_compose! {
    fn value()(
        small: u8, wide: i128, float in prop::num::f64::NORMAL | prop::num::f64::ZERO, text: String, char: char, bytes: Vec<u8>,
        list: Vec<u8>, flag: bool, atom in prop::option::of("[a-m]{0,30}"), node in "[a-z]{1,40}@[a-z]{1,40}",
        id: u32, serial: u32, creation: u32, words in prop::collection::vec(any::<u32>(), 0..=5), tuple: (u64, i8, ()),
    ) -> Value {
        let atom = atom.map(|text| Atom::new(&text).unwrap());
        let node = Atom::new(&node).unwrap();
        let pid = Pid { node: node.clone(), id, serial, creation };
        let reference = Reference::new(node, creation, &words).unwrap();
        Value { small, wide, float, text, char, bytes, list, flag, atom, pid, reference, tuple }
    }
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Node::Leaf),
        value().prop_map(Node::Value),
        prop::result::maybe_ok(Just(()), value()).prop_map(Node::Done),
    ];
    leaf.prop_recursive(4, 24, 4, |node| {
        let boxed = || node.clone().prop_map(Box::new);
        prop_oneof![
            (boxed(), boxed()).prop_map(|(a, b)| Node::Both(a, b)),
            (any::<String>(), prop::option::of(boxed()))
                .prop_map(|(name, child)| Node::Named { name, child }),
            prop::collection::vec(node.clone(), 0..4).prop_map(Node::Many),
            prop::result::maybe_ok(boxed(), value()).prop_map(Node::Answer),
            prop::collection::btree_map(any::<String>(), node.clone(), 0..4).prop_map(Node::ByKey),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_nested_value_comes_back(node in node()) {
        let bytes = to_vec(&node).unwrap();
        prop_assert_eq!(&from_slice::<Node>(&bytes).unwrap(), &node);
        let term = to_term(&node).unwrap();
        prop_assert_eq!(&from_term::<Node>(&term).unwrap(), &node);

        let mut writer = Writer::with_atom_refs();
        serialize(&node, &mut writer).unwrap();
        let Encoded { parts, atoms } = writer.finish();
        let payload = Payload::new(parts.concat().into(), atoms.atoms().into());
        prop_assert_eq!(&payload.decode::<Node>().unwrap(), &node);
        prop_assert!(payload.term() == term);
    }

    #[test]
    fn damaged_bytes_are_a_value_or_an_error(node in node(), at: prop::sample::Index, byte: u8) {
        let mut bytes = to_vec(&node).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = from_slice::<Node>(&bytes);
        let _ = from_bytes::<Vec<Term>>(&bytes.into());
    }
}
