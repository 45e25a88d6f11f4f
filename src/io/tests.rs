//! What `user` answers, and what formats refuse. That texts are Erlang's is tested against a live node, in `interop/tests/io.rs`.

use super::*;

/// The answer, and what was written.
fn asked(request: &str) -> (String, String) {
    let mut written = String::new();
    let request: Term = request.parse().expect("a term");
    let answer = answer(&request, &mut |text| {
        written.push_str(text);
        Ok(())
    });
    (answer.to_string(), written)
}

#[test]
fn requests_are_answered_as_the_protocol_says() {
    // Each as `user` of OTP 25 answers it, but for the last of the input ones, where that reads its own standard input.
    let cases = [
        ("{put_chars, unicode, [104, [<<\"é\"/utf8>>, 9731]]}", "ok", "hé☃"),
        // A character may begin in one binary and end in the next.
        ("{put_chars, unicode, [<<226,152>>, <<131>>]}", "ok", "☃"),
        ("{put_chars, latin1, <<233>>}", "ok", "é"),
        ("{put_chars, [104, 233 | <<33>>]}", "ok", "hé!"),
        ("{put_chars, latin1, [9731]}", "{error,put_chars}", ""),
        ("{put_chars, unicode, <<233>>}", "{error,put_chars}", ""),
        ("{put_chars, unicode, [55296]}", "{error,put_chars}", ""),
        ("{put_chars, unicode, foo}", "{error,put_chars}", ""),
        ("{put_chars, unicode, 104}", "{error,put_chars}", ""),
        ("{put_chars, unicode, io_lib, format, [\"~p ~ts~n\", [{a}, \"é\"]]}", "ok", "{a} é\n"),
        ("{put_chars, io_lib, fwrite, [<<\"~w\">>, \"a\"]}", "ok", "97"),
        ("{put_chars, unicode, io_lib, write, [\"a\"]}", "ok", "[97]"),
        ("{put_chars, unicode, io_lib, nl, []}", "ok", "\n"),
        ("{put_chars, latin1, io_lib, format, [\"~ts\", [[9731]]]}", "{error,put_chars}", ""),
        ("{put_chars, unicode, io_lib, format, [\"~p\", []]}", "{error,put_chars}", ""),
        ("{put_chars, unicode, os, cmd, [\"date\"]}", "{error,put_chars}", ""),
        ("{get_line, unicode, <<\"> \">>}", "eof", ""),
        ("{get_line, 'prompt'}", "eof", ""),
        ("{get_chars, unicode, '', 3}", "eof", ""),
        ("{get_until, unicode, '', io_lib, fread, [\"~d\"]}", "eof", ""),
        ("getopts", "[{binary,false},{encoding,unicode}]", ""),
        ("{setopts, [{encoding, unicode}, binary]}", "ok", ""),
        ("{setopts, [{encoding, latin1}]}", "{error,enotsup}", ""),
        ("{get_geometry, columns}", "{error,enotsup}", ""),
        (
            "{requests, [{put_chars, unicode, \"a\"}, {requests, [{put_chars, unicode, \"b\"}, getopts]}]}",
            "[{binary,false},{encoding,unicode}]",
            "ab",
        ),
        // The first that fails ends it.
        (
            "{requests, [{put_chars, unicode, \"a\"}, foo, {put_chars, unicode, \"b\"}]}",
            "{error,{request,foo}}",
            "a",
        ),
        ("{requests, []}", "ok", ""),
        ("foo", "{error,{request,foo}}", ""),
        ("{}", "{error,{request,{}}}", ""),
    ];
    for (request, answer, written) in cases {
        assert_eq!(asked(request), (answer.to_owned(), written.to_owned()), "{request}");
    }
}

#[test]
fn requests_may_nest_to_any_depth() {
    let mut request: Term = "{put_chars, unicode, \"x\"}".parse().expect("a term");
    for _ in 0..200_000 {
        request = Term::tuple([Term::atom("requests"), Term::list([request])]);
    }
    let mut written = String::new();
    let answered = answer(&request, &mut |text| {
        written.push_str(text);
        Ok(())
    });
    assert_eq!((answered, &*written), (Term::atom("ok"), "x"));
    let mut deep = Term::charlist("x");
    for _ in 0..200_000 {
        deep = Term::list([deep]);
    }
    let request = Term::tuple([Term::atom("put_chars"), Term::atom("unicode"), deep]);
    assert_eq!(answer(&request, &mut |_| Ok(())), Term::atom("ok"));
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let error = |text: &str, arguments: &[Term]| format(text, arguments).expect_err(text).to_string();
    let cases = [
        ("~p and ~p~n", 1, "the format, from its character 7 on: ~p has no argument"),
        ("~p", 3, "the format, from its character 2 on: 2 more arguments than the format asks for"),
        ("a ~y", 1, "the format, from its character 2 on: there is no ~y"),
        ("100~", 0, "the format, from its character 3 on: it is not finished, or no text"),
        ("~10", 0, "the format, from its character 0 on: it is not finished, or no text"),
        (
            "~.99B",
            1,
            "the format, from its character 0 on: ~B does not take this argument, field width, precision or padding",
        ),
        (
            "~f",
            1,
            "the format, from its character 0 on: ~f does not take this argument, field width, precision or padding",
        ),
        ("~ ~~", 0, "the format, from its character 0 on: there is no ~ "),
    ];
    for (text, arguments, expected) in cases {
        assert_eq!(error(text, &vec![Term::from(7); arguments]), expected, "{text}");
    }
}

#[test]
fn a_few_characters_do_not_become_gigabytes() {
    for text in ["~999999999999c", "~99999999999999999999n", "~*c", "~1000000000.500000000c"] {
        let star = text.contains('*').then(|| Term::from(i64::MAX));
        let arguments: Vec<Term> =
            star.into_iter().chain([Term::from(32)]).take(1 + usize::from(text == "~*c")).collect();
        let arguments = if text.ends_with('n') { &[][..] } else { &arguments };
        assert_eq!(format(text, arguments).expect_err(text).kind, FormatErrorKind::TooLong, "{text}");
    }
    // Nor do many such fields.
    let text = "~1000000c".repeat(20);
    let error = format(&text, &vec![Term::from(32); 20]).expect_err("20 MB");
    assert_eq!(error, FormatError { at: 9 * 16, kind: FormatErrorKind::TooLong });
}

#[test]
fn what_is_nested_too_deeply_is_cut_off() {
    let mut term = Term::atom("core");
    for _ in 0..100_000 {
        term = Term::list([term]);
    }
    for control in ["~w", "~p", "~tp", "~0p"] {
        let text = format(control, &[term.clone()]).expect(control);
        assert_eq!(
            text.replace([' ', '\n'], ""),
            format!("{}...{}", "[".repeat(128), "]".repeat(128)),
            "{control}"
        );
    }
}

#[test]
fn what_cannot_be_written_is_answered_with_why() {
    let request: Term = "{put_chars, unicode, \"a\"}".parse().expect("a term");
    let answer = answer(&request, &mut |_| Err(std::io::ErrorKind::BrokenPipe.into()));
    assert_eq!(answer.to_string(), "{error,<<\"broken pipe\">>}");
}
