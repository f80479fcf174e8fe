"""The ONNX file is one: `onnx` reads it and its checker finds nothing wrong, with or without the weights in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import as_model
from small import classifier, spread

from filbert.model.head import Head
from filbert.model.network import Network
from filbert.model.onnx_file import Graph, size
from filbert.model.onnx_graph import BertGraph, bert_graph

onnx = pytest.importorskip("onnx")


def graph_of(head: Head) -> BertGraph:
    network = spread(Network(classifier().encoder, head, torch.Generator().manual_seed(0)))
    model = as_model(network)  # type: ignore[arg-type]
    return bert_graph(model.config, model.weights, model.head, model.arrays)


@pytest.mark.parametrize("rows", ["first", "tokens", "mean", "marks"])
def test_it_is_valid_onnx_of_any_batch_and_length(rows: str) -> None:
    graph = graph_of(Head(3, rows))  # type: ignore[arg-type]
    model = onnx.load_from_string(b"".join(graph.file()))
    onnx.checker.check_model(model, full_check=True)
    axes = {
        each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    told = {"marks": ["batch", "marks"], "tokens": ["batch", "length"]}.get(rows, ["batch"])
    marks = {"mark_rows": ["batch", "marks"], "mark_places": ["batch", "marks"]} if rows == "marks" else {}
    names = ("input_ids", "attention_mask", "token_type_ids")
    assert axes == {**{name: ["batch", "length"] for name in names}, **marks, "logits": [*told, 3]}


def test_every_weight_stands_in_it_to_the_bit() -> None:
    graph = graph_of(Head(3))
    model = onnx.load_from_string(b"".join(graph.file()))
    read = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    assert read.keys() == graph.graph.constants.keys()
    for name, array in graph.graph.constants.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


def test_without_its_weights_it_is_small() -> None:
    graph = graph_of(Head(3))
    weights = sum(array.nbytes for array in graph.weights().values())
    assert size(graph.file()) > weights
    assert size(graph.file(apart=True)) < size(graph.file()) - weights + 60 * len(graph.weights())


def test_numbers_of_any_size_are_written_as_protocol_buffers_have_them() -> None:
    graph, numbers = Graph(), [0, 1, 127, 128, 300, 2**40, -1, -(2**40)]
    graph.add("Node", "x", whole=-5, fraction=0.25, several=numbers, name="y")
    read = onnx.load_from_string(b"".join(graph.model({"x": ["any", 2**33]}, {"y": []})))
    (node,) = read.graph.node
    assert {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute} == {
        "whole": -5,
        "fraction": 0.25,
        "several": numbers,
    }
    assert read.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 2**33
