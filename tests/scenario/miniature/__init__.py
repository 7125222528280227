"""A cluster in miniature: rendered manifests as plain processes on this machine, and a `kubectl` that asks it.

It stands in for the API server, the kubelet and the network of a cluster, as far as the pages' commands need them, and for nothing of
modbot: every container is the real program with the arguments and the environment of its manifest. Each pod has a loopback address of its own,
so that all ports are those of the manifests; names of Services and pods are replaced by addresses where a name server would answer.
"""
