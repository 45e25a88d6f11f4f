use quote::quote;
use syn::parse_quote;

use super::*;

fn error(input: DeriveInput) -> String {
    expand(input)
        .map(|tokens| tokens.to_string())
        .unwrap_err()
        .into_iter()
        .map(|e| e.to_string() + "\n")
        .collect()
}

#[test]
fn an_enum_becomes_a_reply_enum_and_a_client_trait() {
    let tokens = expand(parse_quote! {
        #[serde(rename_all = "snake_case")]
        pub enum Ask {
            #[reply(i64)]
            Get,
            /// Adds.
            #[reply(i64)]
            Add(i64),
            #[reply(Result<f64, Refusal>)]
            Window { secs: u32, over: Option<u8> },
        }
    })
    .unwrap();
    let expected = quote! {
        #[doc = "The replies to [`Ask`], each under the name of the call that it answers."]
        pub enum AskReply {
            #[doc = "The reply to [`Ask::Get`]."]
            Get(i64),
            #[doc = "The reply to [`Ask::Add`]."]
            Add(i64),
            #[doc = "The reply to [`Ask::Window`]."]
            Window(Result<f64, Refusal>),
        }

        impl ::serde::Serialize for AskReply {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                match self {
                    Self::Get(reply) => ::serde::Serialize::serialize(reply, serializer),
                    Self::Add(reply) => ::serde::Serialize::serialize(reply, serializer),
                    Self::Window(reply) => ::serde::Serialize::serialize(reply, serializer),
                }
            }
        }

        impl ::beamline::gen_server::Protocol for Ask {
            type Reply = AskReply;
        }

        #[doc = "The calls of [`Ask`] as methods of a handle to a server that answers them."]
        pub trait AskClient: ::beamline::gen_server::Client<Ask> {
            #[doc = "Calls with [`Ask::Get`]."]
            fn get(&self) -> ::beamline::gen_server::Request<Ask, AskReply, i64> {
                ::beamline::gen_server::Client::request(self, Ask::Get, |reply| match reply {
                    AskReply::Get(reply) => ::core::option::Option::Some(reply),
                    _ => ::core::option::Option::None,
                })
            }
            #[doc = r" Adds."]
            fn add(&self, a0: i64) -> ::beamline::gen_server::Request<Ask, AskReply, i64> {
                ::beamline::gen_server::Client::request(self, Ask::Add(a0), |reply| match reply {
                    AskReply::Add(reply) => ::core::option::Option::Some(reply),
                    _ => ::core::option::Option::None,
                })
            }
            #[doc = "Calls with [`Ask::Window`]."]
            fn window(&self, secs: u32, over: Option<u8>) -> ::beamline::gen_server::Request<Ask, AskReply, Result<f64, Refusal> > {
                ::beamline::gen_server::Client::request(self, Ask::Window { secs, over }, |reply| match reply {
                    AskReply::Window(reply) => ::core::option::Option::Some(reply),
                    _ => ::core::option::Option::None,
                })
            }
        }

        impl<C: ::beamline::gen_server::Client<Ask> + ?Sized> AskClient for C {}
    };
    assert_eq!(tokens.to_string(), expected.to_string());
}

#[test]
fn a_single_variant_leaves_no_unreachable_arm() {
    let tokens = expand(parse_quote! { enum Ask { #[reply(())] Stop } }).unwrap().to_string();
    assert!(!tokens.contains("None"), "{tokens}");
}

#[test]
fn conditional_variants_stay_conditional_everywhere() {
    let tokens =
        expand(parse_quote! { enum Ask { #[reply(())] Stop, #[cfg(unix)] #[reply(u8)] Fork } }).unwrap();
    assert_eq!(tokens.to_string().matches("# [cfg (unix)]").count(), 3);
}

#[test]
fn methods_are_named_as_serde_names_the_atoms_and_may_be_keywords() {
    let names = ["Get", "GetAll", "HTTPGet", "Match", "Self_", "Super", "Öffne"];
    let methods = names.map(|name| method_name(&format_ident!("{name}")).to_string());
    assert_eq!(methods, ["get", "get_all", "h_t_t_p_get", "r#match", "self_", "super_", "öffne"]);
}

#[test]
fn misuse_is_named_with_its_remedy() {
    assert_eq!(
        error(parse_quote! { struct Ask(u8); }),
        "`Protocol` is derived for an enum: one variant for each call that a server answers\n"
    );
    assert_eq!(
        error(parse_quote! { enum Ask<T> { #[reply(T)] Get } }),
        "`Protocol` cannot be derived for a generic enum: both ends of a call must name the same types\n"
    );
    assert_eq!(error(parse_quote! { enum Ask {} }), "a protocol needs at least one variant\n");
    assert_eq!(
        error(parse_quote! { #[reply(u8)] enum Ask { Get } }),
        "`#[reply(T)]` belongs to a variant, not to the enum\n"
    );
    assert_eq!(
        error(parse_quote! { enum Ask { #[reply(u8)] #[reply(u16)] Get } }),
        "a call has one reply: this variant already has a `#[reply(T)]`\n"
    );
}

#[test]
fn every_variant_without_a_reply_is_reported() {
    assert_eq!(
        error(parse_quote! { enum Ask { Get, #[reply(u8)] Add, Window { secs: u32 } } }),
        "`Get` needs `#[reply(T)]`, the type of its reply; `#[reply(())]` is answered with `ok`\n\
         `Window` needs `#[reply(T)]`, the type of its reply; `#[reply(())]` is answered with `ok`\n"
    );
}

#[test]
fn a_reply_that_is_not_one_type_is_refused() {
    for attribute in
        [quote! { #[reply] }, quote! { #[reply(u8, u16)] }, quote! { #[reply = "u8"] }, quote! { #[reply()] }]
    {
        let text = error(syn::parse2(quote! { enum Ask { #attribute Get } }).unwrap());
        assert!(text.starts_with("`#[reply(T)]` takes one type, the reply to this call: "), "{text}");
    }
}
