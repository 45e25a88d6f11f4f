//! What the fuzz targets run: any bytes as messages, and as operations on the registry.

use super::message::{
    Alive2Answer, Names, REQUEST_LEN_MAX, Registration, Request, decode_port2, encode_port2,
};
use super::registry::{Registry, RegistryLimits};

/// Bytes as a request and as each of the answers: what is understood is sent on as the same.
pub fn messages(input: &[u8]) {
    if let Ok(request) = Request::decode(input) {
        let bytes = request.encode().expect("what was understood can be sent");
        let (len, body) = bytes.split_first_chunk::<2>().expect("a request has a length");
        assert!(usize::from(u16::from_be_bytes(*len)) == body.len() && body.len() <= REQUEST_LEN_MAX);
        assert_eq!(Request::decode(body), Ok(request));
    }
    if let Ok(answer) = Alive2Answer::decode(input) {
        assert_eq!(Alive2Answer::decode(&answer.encode(6)), Ok(answer));
    }
    if let Ok(found) = decode_port2(input) {
        assert_eq!(decode_port2(&encode_port2(found.as_ref())), Ok(found));
    }
    let _ = Names::decode(input);
}

/// Bytes as what a daemon's clients do: an operation each, on a registry of a few names, of which what it lists is
/// what it has.
pub fn registry(input: &[u8]) {
    let mut limits = RegistryLimits::default();
    (limits.names, limits.gone) = (3, 2);
    let mut registry = Registry::new(limits);
    // Who registered, by name, on which connection; and the highest creation that was given out.
    let mut active: Vec<(Vec<u8>, u64)> = Vec::new();
    for operation in input.chunks(3) {
        let &[kind, name, connection] = operation else { break };
        let name = vec![b'a' + name % 5];
        let connection = u64::from(connection % 4);
        let held = active.iter().position(|(held, _)| *held == name);
        match kind % 3 {
            0 => {
                let registration = Registration { name: name.clone(), ..Registration::new("", 1) };
                let registered = registry.register(connection, registration, kind.into());
                assert_eq!(registered.is_ok(), held.is_none() && active.len() < 3);
                if let Ok(creation) = registered {
                    assert!(creation >= 4);
                    active.push((name, connection));
                }
            }
            1 => {
                let ours = held.filter(|&at| active[at].1 == connection);
                assert_eq!(registry.unregister(&name, connection), ours.is_some());
                ours.map(|at| active.remove(at));
            }
            _ => assert_eq!(registry.stop(&name), held.map(|at| active.remove(at).1)),
        }
        let listed = Names::decode(&registry.names(4369)).expect("what is listed is understood");
        let expected = active.iter().rev().map(|(name, _)| (String::from_utf8_lossy(name).into_owned(), 1));
        assert_eq!(listed.nodes, expected.collect::<Vec<_>>());
        let dump = registry.dump(4369);
        let unused = dump.split(|&byte| byte == 0).filter(|line| line.windows(3).any(|part| part == b"old"));
        assert!(unused.count() <= 2);
    }
}
