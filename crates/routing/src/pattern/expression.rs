//! Regular expressions, restricted to those that mean the same in PCRE.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSetBinaryOp, ClassSetItem, Flag, Flags, FlagsItemKind,
    GroupKind, HexLiteralKind, Literal, LiteralKind, Span, SpecialLiteralKind, Visitor,
};

use super::error::{MAX_REGEX_SIZE, PatternErrorKind};

/// Compiles an expression over bytes, as Unit does: `\d`, `\w` and `(?i)` know ASCII only, and `.` is
/// any byte but a line feed. As in Unit, it is case-sensitive for every property.
pub(super) fn compile(expression: &str) -> Result<Regex, PatternErrorKind> {
    let refused = |reason: String, span: &Span| {
        let offset = span.start.offset;
        PatternErrorKind::Regex(format!("{reason} at offset {offset}"))
    };
    let ast = Parser::new()
        .parse(expression)
        .map_err(|error| refused(error.kind().to_string(), error.span()))?;
    ast::visit(&ast, Differences).map_err(|(what, span)| refused(what.to_owned(), &span))?;
    RegexBuilder::new(expression)
        .unicode(false)
        .size_limit(MAX_REGEX_SIZE)
        .dfa_size_limit(MAX_REGEX_SIZE)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternErrorKind::RegexSize,
            error => {
                // The last line is the reason; the lines before it show the expression.
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                PatternErrorKind::Regex(reason.to_owned())
            }
        })
}

/// Finds syntax that `regex` and PCRE interpret differently. Syntax that only PCRE has is refused by the
/// parser of `regex`.
struct Differences;

type Found = Result<(), (&'static str, Span)>;

impl Visitor for Differences {
    type Output = ();
    type Err = (&'static str, Span);

    fn finish(self) -> Found {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Found {
        match ast {
            Ast::Repetition(outer) => match *outer.ast {
                Ast::Repetition(_) => Err((
                    "possessive and doubled quantifiers are not supported",
                    outer.op.span,
                )),
                _ => Ok(()),
            },
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(set) => flags(set),
                GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => Ok(()),
            },
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                AssertionKind::WordBoundaryStart
                | AssertionKind::WordBoundaryEnd
                | AssertionKind::WordBoundaryStartAngle
                | AssertionKind::WordBoundaryEndAngle
                | AssertionKind::WordBoundaryStartHalf
                | AssertionKind::WordBoundaryEndHalf => Err((
                    "the only boundaries of words are \"\\b\" and \"\\B\"",
                    assertion.span,
                )),
            },
            Ast::Literal(one) => literal(one),
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Found {
        match item {
            ClassSetItem::Bracketed(class) => Err((
                "a \"[\" in a character class is written as \"\\[\"",
                class.span,
            )),
            ClassSetItem::Literal(one) => literal(one),
            ClassSetItem::Range(range) => literal(&range.start).and(literal(&range.end)),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, operation: &ClassSetBinaryOp) -> Found {
        Err((
            "\"&&\", \"--\" and \"~~\" in a character class are not supported",
            operation.span,
        ))
    }
}

fn flags(flags: &Flags) -> Found {
    for item in &flags.items {
        match item.kind {
            FlagsItemKind::Flag(Flag::CRLF | Flag::Unicode) => {
                return Err((
                    "recursion and the flags \"R\" and \"u\" are not supported",
                    item.span,
                ));
            }
            FlagsItemKind::Flag(_) | FlagsItemKind::Negation => {}
        }
    }
    Ok(())
}

fn literal(literal: &Literal) -> Found {
    match literal.kind {
        LiteralKind::HexBrace(HexLiteralKind::X) if !literal.c.is_ascii() => Err((
            "a byte is written as \"\\xff\", without braces",
            literal.span,
        )),
        LiteralKind::Special(SpecialLiteralKind::VerticalTab) => Err((
            "\"\\v\" is not supported, a vertical tab is \"\\x0b\"",
            literal.span,
        )),
        _ => Ok(()),
    }
}
