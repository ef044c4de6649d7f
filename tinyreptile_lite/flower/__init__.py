"""The round loop over Flower, for clients that are not on this machine.

`server` and `client` are the two halves of the Flower app in the folder ``app``. `local` starts
all of Flower's processes on this computer. Importing this package does not import Flower.
"""
