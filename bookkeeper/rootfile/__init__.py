"""A small reader of ROOT files: what trees are inside, and whether every byte is what it should be.

It reads the container, the description of trees and RNTuples, and the compressed blocks; never the values. Whatever a
file claims is checked against what can be there before memory is taken for it.
"""

from bookkeeper.rootfile.container import RootFile
from bookkeeper.rootfile.deep import Proof, prove
from bookkeeper.rootfile.door import open_root
from bookkeeper.rootfile.entries import main_tree, trees_of
from bookkeeper.rootfile.source import Fault, Source, open_source

__all__ = ["Fault", "Proof", "RootFile", "Source", "main_tree", "open_root", "open_source", "prove", "trees_of"]
