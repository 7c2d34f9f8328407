"""The audit of a model on a terminal: findings, groups, swap tests, tokens that give labels away, and limits."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfbert.commands.table import print_sentences, print_table

if TYPE_CHECKING:  # They import TensorFlow, for which --help should not wait.
    from tfbert.audit.groups import GroupAudit, GroupScores
    from tfbert.audit.run import Audit
    from tfbert.audit.statistics import Estimate
    from tfbert.audit.swaps import SwapAudit

_WIDTH = 100
_MAX_GROUPS, _MAX_TOKENS, _MAX_WORST = 15, 10, 5
_LIMITS = (
    "The audit compares predictions for these texts and these words only. A swap test measures the effect of replacing "
    "the word, not of being a member of a group, and some replaced texts read oddly. A difference between groups may "
    "be due to other differences between their texts. Whether a token is a shortcut or legitimate evidence is for a "
    "person to judge. Without a finding, there may still be a bias that this number of texts cannot show, or that is "
    "in other words."
)


def print_audit(audit: "Audit") -> None:
    """Print an audit as sentences and tables."""
    findings = audit.findings()
    _print_heading(f"Audit of {audit.num_texts:,} texts")
    for path, value in audit.mitigations.items():
        print(f"Trained with {path}={value}. Whether that reduced bias shows an audit of a model without it.")
    nothing = "No group differs from another, and no replaced word has an effect of 0.01 or more, beyond chance."
    _print_wrapped(findings or [nothing])
    for group in audit.groups:
        _print_groups(audit, group)
    if audit.swaps:
        _print_swaps(audit)
    if audit.unmentioned:
        print(f"\nNo text mentions a term of: {', '.join(audit.unmentioned)}.")
    _print_shortcuts(audit)
    _print_heading("Limits")
    _print_wrapped([_LIMITS])


def _print_groups(audit: "Audit", group: "GroupAudit") -> None:
    grouping = group.grouping
    _print_heading(f"Groups: {grouping.source}")
    shown = sorted(group.groups, key=lambda scores: -scores.num_texts)[:_MAX_GROUPS]
    is_binary = any(scores.areas for scores in shown)
    columns = ["group", "texts", audit.metric.title, "95% from", "to"]
    columns += ["true positives", "false positives", "AUC", "BPSN", "BNSP"] if is_binary else []
    columns += [] if audit.has_labels else ["mean error"]
    print_table(columns, [_group_cells(scores, is_binary, audit.has_labels) for scores in shown])
    if len(group.groups) > len(shown):
        print(f"and {len(group.groups) - len(shown):,} smaller groups")
    if is_binary:
        print(f"true and false positives: how often {shown[0].rates[1].label!r} is predicted with and without it")
    if small := [scores.name for scores in shown if not scores.is_judged]:
        print(f"too few texts to judge: {', '.join(small)}")
    if grouping.num_several:
        print(f"{grouping.num_several:,} texts mention several groups and are left out")
    if gap := group.gap:
        difference = gap.difference
        _print_wrapped(
            [
                f"Largest difference: {gap.measure}, {difference.value:.3f} ({difference.low:.3f} to "
                f"{difference.high:.3f}), {gap.highest} above {gap.lowest}. Random groups of these sizes differ by up "
                f"to {gap.chance:.3f} (p = {gap.p_value:.2g}; groupings tested: {len(audit.groups)}): "
                f"{'more than' if audit.is_finding(group) else 'may be'} chance."
            ]
        )


def _group_cells(scores: "GroupScores", is_binary: bool, has_labels: bool) -> list[str]:
    cells = [scores.name, f"{scores.num_texts:,}", *_cells(scores.score)]
    if is_binary:
        rates = scores.rates[1]
        areas = (scores.areas.subgroup, scores.areas.bpsn, scores.areas.bnsp) if scores.areas else (None,) * 3
        cells += [_value(estimate) for estimate in (rates.true_positive, rates.false_positive, *areas)]
    return cells if has_labels else [*cells, _value(scores.mean_error)]


def _print_swaps(audit: "Audit") -> None:
    _print_heading("Swap test: terms of two groups exchanged in the texts that mention them")
    unit = "change of probability" if audit.has_labels else "change of value"
    columns = ["list", "groups", "texts", "terms", unit, "95% from", "to"]
    columns += ["labels changed", "from", "to"] if audit.has_labels else []
    print_table(columns, [_swap_cells(swap, audit.has_labels) for swap in audit.swaps])
    effects = [
        [swap.source, swap.groups[1], swap.groups[0], direction.name, *_cells(direction.change, "+")]
        for swap in audit.swaps
        for direction in swap.directions[:1]
    ]
    if effects:
        print("\nEffect of the term, on average (intervals corrected for the number of comparisons):")
        print_table(["list", "term of", "in place of", "label", "effect", "from", "to"], effects)
    worst = sorted((text for swap in audit.swaps for text in swap.worst), key=lambda text: -text.change)[:_MAX_WORST]
    if worst:
        print("\nTexts with the largest change:")
        rows = [(f"{text.change:.3f}", f"{' | '.join(text.swapped)} ({text.before} → {text.after})") for text in worst]
        print_sentences(["change", "text with other terms (prediction before and after)"], rows)


def _swap_cells(swap: "SwapAudit", has_labels: bool) -> list[str]:
    counts = [swap.source, " – ".join(swap.groups), f"{swap.num_texts:,}", f"{swap.num_terms:,}"]
    return [*counts, *_cells(swap.change), *(_cells(swap.flips) if has_labels else [])]


def _print_shortcuts(audit: "Audit") -> None:
    shortcuts = audit.shortcuts
    _print_heading("Tokens that give labels away")
    _print_wrapped(
        [
            f"{shortcuts.num_found:,} of {shortcuts.num_tokens:,} tokens, counted in {shortcuts.num_texts:,} texts "
            f"({shortcuts.source}), occur with a label more often than chance allows."
        ]
    )
    if shortcuts.listed:
        share = "with label" if audit.has_labels else "mean value"
        rows = [
            [token.token, token.label, f"{token.num_texts:,}", f"{token.fraction:.3f}", f"{token.expected:.3f}",
             f"{token.z:.1f}"]
            for token in shortcuts.listed[:_MAX_TOKENS]
        ]  # fmt: skip
        print_table(["token", "label", "texts", share, "expected", "z"], rows)
    scores = ((shortcuts.num_misleading, shortcuts.misleading), (shortcuts.num_other, shortcuts.other))
    rows = [
        [name, f"{number:,}", *_cells(estimate)]
        for name, (number, estimate) in zip(("points to another label", "points to the label"), scores, strict=True)
    ]
    print()
    print_table(["texts whose strongest token", "texts", audit.metric.title, "95% from", "to"], rows)


def _print_heading(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}")


def _print_wrapped(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        print(textwrap.fill(sentence, _WIDTH))


def _value(estimate: "Estimate | None") -> str:
    return "–" if estimate is None or estimate.value != estimate.value else f"{estimate.value:.3f}"


def _cells(estimate: "Estimate | None", sign: str = "") -> list[str]:
    if estimate is None:
        return ["–"] * 3
    return [f"{value:{sign}.3f}" for value in (estimate.value, estimate.low, estimate.high)]
