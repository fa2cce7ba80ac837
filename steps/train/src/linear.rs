//! A fully connected layer as an operation of candle, computed by `ndarray`.
//!
//! candle's own product asks the system for its number of processors at every call (unless an
//! environment variable says it) and hands work to threads; for layers as small as ours that costs
//! more than forty times the arithmetic. This one computes in place, on one thread, in one order.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Tensor};
use ndarray::{Array2, ArrayView1, ArrayView2};

/// Returns `input * weight' + bias`: (rows, inputs), (outputs, inputs), (outputs) to (rows, outputs).
pub(crate) fn linear(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    input.contiguous()?.apply_op3(weight, bias, Linear)
}

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let input = view(input, input_layout)?;
        let weight = view(weight, weight_layout)?;
        let bias = ArrayView1::from(numbers(bias, bias_layout)?);
        Ok(stored(&(input.dot(&weight.t()) + bias)))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let of_input = gradient.apply_op2_no_bwd(weight, &Product { turned: false })?;
        let of_weight =
            gradient.apply_op2_no_bwd(&input.contiguous()?, &Product { turned: true })?;
        Ok((Some(of_input), Some(of_weight), Some(gradient.sum(0)?)))
    }
}

/// `left * right`, or `left' * right`.
struct Product {
    turned: bool,
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let left = view(left, left_layout)?;
        let left = if self.turned { left.reversed_axes() } else { left };
        Ok(stored(&left.dot(&view(right, right_layout)?)))
    }
}

fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("a layer needs contiguous numbers".to_owned()))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

fn view<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<ArrayView2<'a, f32>> {
    let shape = layout.shape().dims2()?;
    ArrayView2::from_shape(shape, numbers(storage, layout)?).map_err(|e| Error::Msg(e.to_string()))
}

fn stored(result: &Array2<f32>) -> (CpuStorage, Shape) {
    let shape = Shape::from(result.dim());
    // A product may come column by column.
    let values = result.as_standard_layout().iter().copied().collect();
    (CpuStorage::F32(values), shape)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_candle() {
        let device = Device::Cpu;
        let numbers = |count: u16, step: f32| -> Vec<f32> {
            (0..count).map(|i| (f32::from(i) * step).sin()).collect()
        };
        let input = Var::from_vec(numbers(15, 0.7), (5, 3), &device).unwrap();
        let weight = Var::from_vec(numbers(12, 1.3), (4, 3), &device).unwrap();
        let bias = Var::from_vec(numbers(4, 0.3), 4, &device).unwrap();
        let ours = linear(&input, &weight, &bias).unwrap();
        let theirs = input.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        let difference = |a: &Tensor, b: &Tensor| {
            let worst = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            worst.to_scalar::<f32>().unwrap()
        };
        assert!(difference(&ours, &theirs) < 1e-6);
        let gradients =
            |output: &Tensor| output.sqr().unwrap().mean_all().unwrap().backward().unwrap();
        let (ours, theirs) = (gradients(&ours), gradients(&theirs));
        for variable in [&input, &weight, &bias] {
            let pair = (ours.get(variable).unwrap(), theirs.get(variable).unwrap());
            assert!(difference(pair.0, pair.1) < 1e-6);
        }
    }
}
