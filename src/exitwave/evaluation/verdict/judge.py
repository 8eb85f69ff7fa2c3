"""The verdict on a finished result, by kind of problem; these have rules, and other packages may register theirs."""

from exitwave.evaluation.verdict import cdi as cdi, ptychography as ptychography
from exitwave.evaluation.verdict.kinds import verdict_of as verdict_of
