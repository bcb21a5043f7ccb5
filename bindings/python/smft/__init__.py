"""smft: teach a language model new facts while it runs, without making it forget what it knew.

    import smft
    model = smft.Model("examples/atlas/model")
    patch = smft.Patch(model)
    learner = smft.Learner(model, patch)
    learner.push("emma", [("Who wrote Emma?", "Jane Austen")])
    learner.run()
    with smft.Session(model, patch) as session:
        print(session.generate("Who wrote Emma?", max_tokens=16, stop="\\n"))
    patch.save("emma.safetensors")

The model is never changed; the patch is what was learnt.  One class a handle of smft.h, with its rules: Model and Tokenizer may be
used by any number of threads, every other object by one thread at a time.  Errors are smft.Error, one subclass a status.  Arrays
are numpy arrays where numpy is installed, else array.array.
"""
from ._library import lib as _lib
from .context import Context, default_context
from .errors import (BufferTooSmallError, CancelledError, ContextError, EncodingError, Error, FactError, FileError, FormatError,
                     InternalError, InvalidError, MismatchError, MissingFileError, NoCountsWarning, NoMemoryError, NonFiniteError, NotFoundError, StateError,
                     StructSizeError, TokenError, UnsupportedError)
from .chat import ChatTemplate
from .grafting import GraftReport, graft
from .learn import Learner, Optimizer, Report, RunReport, Selector, Wording
from .model import Inspection, LearnDefaults, MemoryInfo, Model, ModelInfo, Tensor, Tokenizer, inspect
from .patch import Fact, LoraOptions, Patch
from .probe import Probe, ProbeItem, ProbeReport, score_answer
from .session import Nll, Session
from .wordings import Framed, Wordings, wordings_from_qa, wordings_from_statement

#: Version of the library that is loaded.
__version__: str = _lib.smft_version_string().decode("ascii")

__all__ = [
    "BufferTooSmallError", "CancelledError", "ChatTemplate", "Context", "ContextError", "EncodingError", "Error", "Fact", "FactError", "FileError", "FormatError", "Framed", "GraftReport",
    "Inspection", "InternalError", "InvalidError", "LearnDefaults", "Learner",
    "LoraOptions", "MemoryInfo", "MismatchError", "MissingFileError", "Model", "ModelInfo", "Nll", "NoCountsWarning",
    "NoMemoryError", "NonFiniteError", "NotFoundError", "Optimizer", "Patch", "Probe", "ProbeItem", "ProbeReport", "Report", "RunReport", "Selector",
    "Session", "StateError", "StructSizeError", "Tensor", "Tokenizer", "TokenError", "UnsupportedError", "Wording", "Wordings", "default_context",
    "graft", "inspect", "score_answer", "wordings_from_qa", "wordings_from_statement",
]
